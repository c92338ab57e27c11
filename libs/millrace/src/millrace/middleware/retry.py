"""Tries a handler again after transient errors, in place, with back-off.

The handler waits meanwhile, and with it all its partitions: keep all attempts together well under a minute, and leave longer outages to a
circuit breaker or to the Router's own back-off, which lets other partitions flow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from millrace.errors import TransientError
from millrace.handling import HandlerFunc, current_delivery
from millrace.message import Message
from millrace.pubsub import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Up to `attempts` in all, random delays up to `first_seconds` doubled each time, at most `max_seconds` (full jitter).

    Only TransientError is tried again. The last one is raised. Source: Marc Brooker, "Exponential Backoff And Jitter", AWS 2015.
    """

    attempts: int = 4
    first_seconds: float = 0.1
    max_seconds: float = 5.0

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler."""

        def handle(message: Message) -> Sequence[Outgoing]:
            try:
                return handler(message)
            except TransientError as failed:
                # tenacity costs more than most handlers: only those that failed once pay for it.
                return self._again(handler, message, failed)

        return handle

    def _again(self, handler: HandlerFunc, message: Message, first_failure: TransientError) -> Sequence[Outgoing]:
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self.attempts),
            wait=wait_random_exponential(multiplier=self.first_seconds, max=self.max_seconds),
            before=_count_attempt,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first_failure
                return handler(message)
        raise first_failure


def _count_attempt(state: RetryCallState) -> None:
    delivery = current_delivery.get(None)
    if delivery is not None:
        delivery.attempts = state.attempt_number
