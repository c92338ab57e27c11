"""Calls to external parts: what is repeated, what is refused, and what the caller learns."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from millrace.errors import OutcomeUnknown, Refused, Unavailable
from millrace.external.breaker import Breaker
from millrace.external.budget import RetryBudget
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics


def _policy(**changes: Any) -> CallPolicy:
    return CallPolicy(**({"first_pause_seconds": 0.001, "longest_pause_seconds": 0.002} | changes))


def _wait_half_open(breaker: Breaker) -> None:
    ends = time.monotonic() + 5
    while breaker.state() != "half_open":
        assert time.monotonic() < ends, breaker.state()


class Part:
    """An external part that fails as told, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


async def _silent() -> str:
    await asyncio.Event().wait()
    return "never"


def _call(policy: CallPolicy) -> tuple[ExternalCall, CollectorRegistry]:
    registry = CollectorRegistry()
    return ExternalCall("gateway", policy, ExternalMetrics(registry)), registry


def test_what_is_away_is_asked_again() -> None:
    external, registry = _call(_policy())
    part = Part(Unavailable("1"), ConnectionRefusedError())
    assert asyncio.run(external.call(part)) == "done"
    assert part.asked == 3
    assert registry.get_sample_value("millrace_external_retries_total", {"part": "gateway"}) == 2
    outcome = {"part": "gateway", "outcome": "unavailable"}
    assert registry.get_sample_value("millrace_external_calls_total", outcome) == 2


def test_a_refusal_comes_as_it_is_and_is_not_repeated() -> None:
    external, _ = _call(_policy(breaker_failures=1))
    part = Part(Refused("declined"))
    with pytest.raises(Refused, match="declined"):
        asyncio.run(external.call(part))
    assert part.asked == 1
    assert asyncio.run(external.call(part)) == "done"


@pytest.mark.parametrize(("idempotent", "asked"), [(False, 1), (True, 3)])
def test_an_unknown_outcome_is_repeated_only_with_an_idempotency_key(idempotent: bool, asked: int) -> None:
    external, _ = _call(_policy(idempotent=idempotent))
    part = Part(*(ConnectionResetError() for _ in range(9)))
    with pytest.raises(OutcomeUnknown):
        asyncio.run(external.call(part))
    assert part.asked == asked


def test_silence_ends_as_unknown_after_the_attempts_time() -> None:
    external, _ = _call(_policy(attempt_seconds=0.02))
    with pytest.raises(OutcomeUnknown):
        asyncio.run(external.call(_silent))


def test_all_attempts_together_keep_to_the_total_time() -> None:
    external, _ = _call(_policy(attempt_seconds=0.05, total_seconds=0.12, attempts=100, idempotent=True))

    async def scenario() -> None:
        async with asyncio.timeout(2):
            await external.call(_silent)

    with pytest.raises(OutcomeUnknown):
        asyncio.run(scenario())


def test_an_open_breaker_refuses_without_asking_and_shows_in_the_metrics() -> None:
    external, registry = _call(_policy(attempts=2, breaker_failures=2, breaker_recovery_seconds=60))
    part = Part(Unavailable("1"), Unavailable("2"))
    with pytest.raises(Unavailable):
        asyncio.run(external.call(part))
    with pytest.raises(Unavailable, match="not asked again yet"):
        asyncio.run(external.call(part))
    assert part.asked == 2
    assert registry.get_sample_value("millrace_external_breaker_open", {"part": "gateway"}) == 1


def test_retries_stop_when_the_budget_is_spent() -> None:
    external, _ = _call(_policy(attempts=5, breaker_failures=1000, budget_capacity=3, budget_ratio=0.1))
    part = Part(*(Unavailable("away") for _ in range(1000)))
    for _ in range(10):
        with pytest.raises(Unavailable):
            asyncio.run(external.call(part))
    assert part.asked == 10 + 3


def test_a_half_open_breaker_lets_one_probe_through() -> None:
    breaker = Breaker("carrier", failures=1, recovery_seconds=0.001)
    with pytest.raises(Unavailable, match="boom"), breaker.attempt():
        raise Unavailable("boom")
    _wait_half_open(breaker)
    probe = breaker.attempt()
    with pytest.raises(Unavailable, match="carrier is away"):
        breaker.attempt()
    with probe:
        assert breaker.state() == "half_open"
    assert breaker.state() == "closed"


def test_a_cancelled_probe_frees_its_place() -> None:
    breaker = Breaker("carrier", failures=1, recovery_seconds=0.001)
    with pytest.raises(Unavailable), breaker.attempt():
        raise Unavailable("boom")
    _wait_half_open(breaker)
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError
    with breaker.attempt():
        pass
    assert breaker.state() == "closed"


def test_calls_fill_the_budget_up_to_its_capacity() -> None:
    budget = RetryBudget(capacity=1, ratio=0.5)
    assert budget.withdraw()
    assert not budget.withdraw()
    for _ in range(9):
        budget.deposit()
    assert budget.left() == 1
