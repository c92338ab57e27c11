"""One call to an external part, with everything around it that keeps a bad day there from becoming ours.

Reactors use one `ExternalCall` per part. The order is retry, then breaker, then time-out, so that the breaker sees each attempt.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity
from prometheus_client import CollectorRegistry, Counter, Gauge

from millrace.errors import OutcomeUnknown, TransientError, Unavailable
from millrace.external.breaker import Breaker
from millrace.external.budget import RetryBudget

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How one external part is called.

    An attempt gets `attempt_seconds`, all of them with their pauses `total_seconds`. Only a call that carries an idempotency key
    (`idempotent`) is repeated after its outcome became unknown; others are repeated only after Unavailable, when nothing was done.
    """

    attempt_seconds: float = 2.0
    total_seconds: float = 6.0
    attempts: int = 3
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 2.0
    idempotent: bool = False
    breaker_failures: int = 5
    breaker_recovery_seconds: float = 10.0
    budget_capacity: float = 10.0
    budget_ratio: float = 0.2


class ExternalMetrics:
    """`millrace_external_calls_total{part, outcome}`, `..._retries_total{part}`, `..._breaker_open{part}`, `..._retry_budget{part}`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("millrace_external_calls", "Attempts by outcome", ("part", "outcome"), registry=registry)
        self.retries = Counter("millrace_external_retries", "Attempts after the first", ("part",), registry=registry)
        self.breaker_open = Gauge(
            "millrace_external_breaker_open", "1 unless the breaker is closed", ("part",), registry=registry
        )
        self.budget = Gauge("millrace_external_retry_budget", "Retries left", ("part",), registry=registry)


class ExternalCall:
    """Calls one part. Coroutines of one event loop share it; breaker and budget may be shared wider."""

    def __init__(self, name: str, policy: CallPolicy, metrics: ExternalMetrics) -> None:
        self._name = name
        self._policy = policy
        self._metrics = metrics
        self._breaker = Breaker(name, failures=policy.breaker_failures, recovery_seconds=policy.breaker_recovery_seconds)
        self._budget = RetryBudget(capacity=policy.budget_capacity, ratio=policy.budget_ratio)
        metrics.breaker_open.labels(name).set_function(lambda: float(self._breaker.state() != "closed"))
        metrics.budget.labels(name).set_function(self._budget.left)

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make()` returns, made anew for each attempt.

        Raises Unavailable when the part is away or the breaker open, OutcomeUnknown when it gave no answer in time, and whatever
        else `make` raises as it comes.
        """
        ends = time.monotonic() + self._policy.total_seconds
        self._budget.deposit()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_repeat),
            wait=tenacity.wait_random_exponential(self._policy.first_pause_seconds, self._policy.longest_pause_seconds),
            stop=lambda state: self._give_up(state, ends),
            before_sleep=lambda _: self._metrics.retries.labels(self._name).inc(),
            reraise=True,
        )
        return await retrying(self._attempt, make, ends)

    def _may_repeat(self, error: BaseException) -> bool:
        return isinstance(error, TransientError) and (self._policy.idempotent or isinstance(error, Unavailable))

    def _give_up(self, state: tenacity.RetryCallState, ends: float) -> bool:
        if state.attempt_number >= self._policy.attempts or self._breaker.state() == "open":
            return True
        return time.monotonic() + state.upcoming_sleep >= ends or not self._budget.withdraw()

    async def _attempt(self, make: Callable[[], Awaitable[T]], ends: float) -> T:
        seconds = min(self._policy.attempt_seconds, ends - time.monotonic())
        if seconds <= 0:
            raise Unavailable(f"{self._name}: no time left to ask")
        outcome = "refused"
        try:
            with self._breaker.attempt():
                answer = await self._in_time(make, seconds)
            outcome = "ok"
            return answer
        except TransientError as error:
            outcome = "unknown" if isinstance(error, OutcomeUnknown) else "unavailable"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._metrics.calls.labels(self._name, outcome).inc()

    async def _in_time(self, make: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await make()
        except ConnectionRefusedError as away:
            raise Unavailable(f"{self._name} refused the connection") from away
        except (TimeoutError, ConnectionError) as silent:
            raise OutcomeUnknown(f"{self._name} gave no answer; what was asked may have happened") from silent
