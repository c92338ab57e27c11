"""Finds what time alone makes due: parked keys to try again, and timers.

A timer fires only once its group has handled every reply that was there when it fell due: after an outage all deadlines are due before
the replies that wait in Kafka have been read.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from confluent_kafka import KafkaException

from millrace.clock import micros
from millrace.pipeline.assignment import Assignment, TopicPart
from millrace.pipeline.engine import Engine
from millrace.pipeline.inputs import Input, fired, unpack_record
from millrace.store.contract import Session

log = logging.getLogger(__name__)
_LIMIT = 200


class Topics(Protocol):
    """What must be known of topics."""

    def of(self, names: set[str]) -> Mapping[str, tuple[str, int]]:
        """Return id and partition count of each topic."""

    def ends(self, parts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the end offset of each partition, asked of the broker now."""


class DueWork:
    """What is due for one consumer group. Used by the consumer's thread alone."""

    def __init__(self, engine: Engine, session: Session, topics: Topics, reply_topics: Sequence[str], crowd: int) -> None:
        """A key with `crowd` parked messages is crowded."""
        self._engine = engine
        self._session = session
        self._topics = topics
        self._reply_topics = reply_topics
        self._crowd = crowd
        self.parked = 0
        """How many messages were parked when this was last looked at."""
        self.crowded: frozenset[TopicPart] = frozenset()
        """The partitions that crowded keys came from."""

    def find(self, assignment: Assignment) -> tuple[list[str], list[Input]]:
        """Return the parked keys to try again and the timers to fire."""
        now = micros(self._engine.clock())
        group = self._engine.group
        with self._session.transaction() as tx:
            keys = tx.parked.due_keys(group, now, _LIMIT)
            timers = tx.timers.due(group, now, _LIMIT)
            self.parked = tx.parked.count(group)
            crowding = tx.parked.crowding(group, self._crowd) if self.parked >= self._crowd else []
        self.crowded = frozenset((record.topic, record.partition) for record in map(unpack_record, crowding))
        self._engine.metrics.parked(self.parked, len(self.crowded))
        if timers and self._reply_topics:
            horizon = self._horizon(assignment, now)
            timers = [timer for timer in timers if timer.due_at is not None and timer.due_at <= horizon]
        return keys, [fired(timer) for timer in timers]

    def _horizon(self, assignment: Assignment, now: int) -> int:
        """Return the time up to which every reply has been handled by this group, whichever worker holds the partition.

        While no broker answers nobody knows, and no timer fires.
        """
        try:
            ends = self._topics.ends([part for part in assignment.held if part[0] in self._reply_topics])
            topics = self._topics.of(set(self._reply_topics))
        except KafkaException as away:
            log.warning("timers wait for the broker", extra={"reason": str(away)})
            return 0
        with self._session.transaction() as tx:
            tx.positions.caught_up(self._engine.group, assignment.at_end(ends), now)
            return tx.positions.least_caught_up(self._engine.group, topics)
