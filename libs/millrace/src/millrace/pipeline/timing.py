"""Finds what time alone makes due: parked keys to try again, and timers.

A timer fires only once its group has handled every reply that was there when it fell due: after an outage all deadlines are due before
the replies that wait in Kafka have been read.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from millrace.clock import micros
from millrace.decision import TimerFired
from millrace.pipeline.assignment import Assignment
from millrace.pipeline.engine import Engine
from millrace.pipeline.inputs import Input
from millrace.pipeline.timers import Timer
from millrace.store.contract import Session

_LIMIT = 200


class Topics(Protocol):
    """What must be known of topics."""

    def of(self, names: set[str]) -> Mapping[str, tuple[str, int]]:
        """Return id and partition count of each topic."""

    def ends(self, parts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the end offset of each partition, asked of the broker now."""


class DueWork:
    """What is due for one consumer group. Used by the consumer's thread alone."""

    def __init__(self, engine: Engine, session: Session, topics: Topics, reply_topics: Sequence[str]) -> None:
        self._engine = engine
        self._session = session
        self._topics = topics
        self._reply_topics = reply_topics
        self.parked = 0
        """How many messages were parked when this was last looked at."""

    def find(self, assignment: Assignment) -> tuple[list[str], list[Input]]:
        """Return the parked keys to try again and the timers to fire."""
        now = micros(self._engine.clock())
        group = self._engine.group
        with self._session.transaction() as tx:
            keys = tx.parked.due_keys(group, now, _LIMIT)
            timers = tx.timers.due(group, now, _LIMIT)
            self.parked = tx.parked.count(group)
        self._engine.metrics.parked(self.parked)
        if timers and self._reply_topics:
            horizon = self._horizon(assignment, now)
            timers = [timer for timer in timers if timer.due_at is not None and timer.due_at <= horizon]
        return keys, [_fired(timer) for timer in timers]

    def _horizon(self, assignment: Assignment, now: int) -> int:
        """Return the time up to which every reply has been handled by this group, whichever worker holds the partition."""
        ends = self._topics.ends([part for part in assignment.held if part[0] in self._reply_topics])
        at_end = {
            partition: position
            for partition, position in assignment.positions(self._reply_topics).items()
            if (position.next_offset or 0) >= ends[(partition.topic, partition.partition)]
        }
        with self._session.transaction() as tx:
            tx.positions.caught_up(self._engine.group, at_end, now)
            return tx.positions.least_caught_up(self._engine.group, self._topics.of(set(self._reply_topics)))


def _fired(timer: Timer) -> Input:
    return Input(f"timer {timer.id}", timer.key, TimerFired(timer.id, timer.kind, timer.key, timer.attempt), {}, timer=timer)
