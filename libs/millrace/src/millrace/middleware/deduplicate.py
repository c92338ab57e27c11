"""Drops copies of a message that were published twice, for plain handlers. Handlers with state have the inbox instead, which is exact.

It remembers in this process alone: another member of the group, or the next process, does not know what this one handled.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from millrace.handling import HandlerFunc, current_delivery
from millrace.message import Message
from millrace.pubsub import Outgoing

log = logging.getLogger(__name__)

_Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicate:
    """Counts a message as done, unhandled, if one of its id was handled at another place in the last `window_seconds`.

    An id counts once its handler succeeded: a message that failed is no duplicate when it comes again, nor is one at its own place, which
    was given back because its outputs could not be published. At most `max_ids` are kept for each handler, the latest (about 300 bytes
    each). Ids, never payloads, tell messages apart.
    """

    window_seconds: float = 600.0
    max_ids: int = 20_000
    clock: Callable[[], float] = monotonic

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler, with a memory of its own. Outside a Router messages have no place, and calling it raises LookupError."""
        handled: dict[str, tuple[_Place, float]] = {}
        lock = Lock()

        def handle(message: Message) -> Sequence[Outgoing]:
            record = current_delivery.get().record
            place = (record.topic, record.partition, record.offset)
            known = handled.get(message.id)
            if known is not None and known[0] != place and known[1] > self.clock() - self.window_seconds:
                log.info("duplicate dropped", extra={"message_id": message.id, "topic": record.topic, "offset": record.offset})
                return ()
            outputs = handler(message)
            with lock:
                self._remember(handled, message.id, place)
            return outputs

        return handle

    def _remember(self, handled: dict[str, tuple[_Place, float]], message_id: str, place: _Place) -> None:
        """Add an id as the latest; drop, from the oldest on, those out of the window or beyond the count."""
        handled.pop(message_id, None)
        handled[message_id] = (place, self.clock())
        gone_before = self.clock() - self.window_seconds
        while (oldest := next(iter(handled))) != message_id and (
            len(handled) > self.max_ids or handled[oldest][1] <= gone_before
        ):
            del handled[oldest]
