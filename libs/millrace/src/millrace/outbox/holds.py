"""What the relay leaves alone for a while, so that it hides nothing behind it: topics that take no messages, and refused messages.

A refused message that has a key blocks that key. Used by the relay's thread alone; it asks nobody, and knows only what it is told.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from millrace.outbox.config import RelayConfig
from millrace.outbox.outbox import Lane, OutboxRow

log = logging.getLogger(__name__)


class Holds:
    """The topics held back, each until it is asked for again, and the messages refused for good, until all are tried again."""

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._topics: dict[str, float] = {}
        self._refused: dict[int, Lane] = {}
        self._tried_again: set[int] = set()
        self._next_try = 0.0

    @property
    def topics(self) -> AbstractSet[str]:
        """The topics held back."""
        return self._topics.keys()

    @property
    def refused(self) -> int:
        """How many messages are refused."""
        return len(self._refused)

    @property
    def blocking(self) -> int:
        """How many messages are refused, or were and have not gone out since they are tried again."""
        return len(self._tried_again | self._refused.keys())

    @property
    def lanes(self) -> set[Lane]:
        """The keys blocked by a refused message."""
        return {lane for lane in self._refused.values() if lane[1] is not None}

    @property
    def ids(self) -> list[int]:
        """The refused messages that have no key to block."""
        return [number for number, lane in self._refused.items() if lane[1] is None]

    def hold(self, topic: str, reason: str) -> None:
        """Leave a topic alone from now on for `held_seconds`."""
        if topic not in self._topics:
            log.error("topic takes no messages, its own wait", extra={"topic": topic, "reason": reason})
        self._topics[topic] = time.monotonic() + self._config.held_seconds

    def release(self, topic: str) -> None:
        """Leave a topic alone no longer."""
        del self._topics[topic]
        log.info("messages of a topic go on", extra={"topic": topic})

    def refuse(self, row: OutboxRow, reason: str) -> None:
        """Leave a message alone, and what is behind it in its key; or its topic, where too many are refused already."""
        if len(self._refused) >= self._config.max_refused:
            self.hold(row.topic, f"too many messages are refused, this one for: {reason}")
            return
        self._refused[row.id] = row.lane
        log.error("message refused for good, its key is blocked", extra={"outbox_id": row.id, "kafka_error": reason})

    def due(self) -> Sequence[str]:
        """Return the topics that are to be asked for again."""
        now = time.monotonic()
        return [topic for topic, at in self._topics.items() if at <= now]

    def try_refused(self) -> None:
        """Forget the refusals, every `refused_seconds`: a limit may have been raised."""
        if time.monotonic() >= self._next_try:
            refused = set(self._refused)
            self.forget_refused()
            self._tried_again = refused

    def forget_refused(self) -> None:
        """Forget the refusals."""
        self._next_try = time.monotonic() + self._config.refused_seconds
        self._refused.clear()
        self._tried_again.clear()

    def gone(self, ids: Iterable[int]) -> None:
        """Take note that messages have gone out."""
        self._tried_again.difference_update(ids)
