"""Stops handling while what handlers call is away: their partitions pause, and their consumers keep polling.

Around a handler, inside retry and dead letter: an outage then costs neither attempts nor dead letters.
"""

from collections.abc import Sequence

from millrace.errors import Postponed, TransientError, Unavailable
from millrace.external.breaker import Breaker
from millrace.handling import HandlerFunc
from millrace.message import Message
from millrace.pubsub import Outgoing

_PROBE_SECONDS = 0.5


class CircuitBreaker:
    """Raises Postponed while its breaker is open: the message comes again when the breaker lets a probe through.

    The failure that opens the breaker, or fails the probe, postpones its message too. While another message is the probe, those that come
    wait half a second. One breaker may be shared by all handlers and calls that need the same part.
    """

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler."""
        breaker = self._breaker

        def handle(message: Message) -> Sequence[Outgoing]:
            try:
                attempt = breaker.attempt()
            except Unavailable as refused:
                raise Postponed(breaker.wait_seconds() or _PROBE_SECONDS) from refused
            try:
                with attempt:
                    return handler(message)
            except TransientError as failed:
                seconds = breaker.wait_seconds()
                if seconds:
                    raise Postponed(seconds) from failed
                raise

        return handle
