"""Lets so many messages a second through. The rest waits in its partitions, and the consumer keeps polling."""

from collections.abc import Callable, Sequence
from threading import Lock
from time import monotonic

from millrace.handling import HandlerFunc, current_delivery
from millrace.message import Message
from millrace.pubsub import Outgoing


class Throttle:
    """Lets `per_second` messages through, over all handlers it wraps together, up to `burst` of them at once after a pause.

    Without a `burst` it is a tenth of a second's messages, at least one. A wait takes place in the handler's thread; a long one ends in
    Postponed, and pauses the partition. Raises ValueError for a rate or burst that lets nothing through.
    """

    def __init__(self, per_second: float, *, burst: int | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second / 10) if burst is None else float(burst)
        if per_second <= 0 or self._burst < 1:
            raise ValueError(f"{per_second:g} messages a second in bursts of {self._burst:g} are none")
        self._clock = clock
        self._lock = Lock()
        self._allowed = self._burst
        self._counted_at = clock()

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler. Outside a Router nobody can wait for it, and calling it raises LookupError where it would have to."""

        def handle(message: Message) -> Sequence[Outgoing]:
            while (seconds := self._take()) > 0:
                current_delivery.get().wait(seconds)
            return handler(message)

        return handle

    def _take(self) -> float:
        """Take leave for one message, or return how long there will be none."""
        with self._lock:
            now = self._clock()
            self._allowed = min(self._burst, self._allowed + (now - self._counted_at) * self._per_second)
            self._counted_at = now
            if self._allowed >= 1:
                self._allowed -= 1
                return 0.0
            return (1 - self._allowed) / self._per_second
