"""Subscriber over Kafka: one consumer per subscription, driven from one thread only, moved only by explicit commits.

Given to Routers by a program's bootstrap. librdkafka's stored offsets are never used: after a seek they keep the old position, and a
commit without arguments would then commit records nobody processed (research: FastStream's loss).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from millrace.errors import MillraceError, Unavailable
from millrace.kafka.bounds import within
from millrace.kafka.closing import leave
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.pauses import Pauses
from millrace.kafka.records import record_of
from millrace.message import Record
from millrace.progress import Progress

log = logging.getLogger(__name__)

HealthReport = Callable[[bool, str], None]
Place = tuple[str, int]

_PROBE_EVERY_SECONDS = 1.0
_ANSWER_SECONDS = 3.0


class KafkaSubscriber:
    """Opens one consumer per subscription. `on_health(ok, reason)` hears when the brokers go away and come back."""

    def __init__(self, config: KafkaConfig, *, on_health: HealthReport | None = None) -> None:
        self._config = config
        self._on_health = on_health or ignore_health

    def subscribe(self, topics: Sequence[str], group: str) -> "KafkaSubscription":
        """Join a consumer group on topics, by name. A group without a position starts at the earliest record."""
        return KafkaSubscription(self._config, topics, group, self._on_health)


class KafkaSubscription:
    """One member of a group. All calls come from one thread, rebalance callbacks included: they run inside `receive` and `close`."""

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str, on_health: HealthReport) -> None:
        self._group = group
        self._on_health = on_health
        self._healthy = True
        self._probe_at = 0.0
        self._surfacing: MillraceError | None = None
        self._progress: dict[Place, Progress] = {}
        self._finish: Callable[[float], None] = _wait_for_nothing
        self._finish_seconds = config.max_poll_interval_seconds / 2
        self._closed = False
        self._connection = ConnectionLog()
        callbacks = {"error_cb": self._error, "on_commit": self._committed}
        self._consumer = Consumer({**config.consumer_settings(group), **callbacks}, logger=self._connection)
        self._pauses = Pauses(self._consumer)
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Return what is there, at least one record unless `timeout_seconds` passed. Raises Unavailable after falling out of the group."""
        if self._surfacing is not None:
            surfaced, self._surfacing = self._surfacing, None
            raise surfaced
        first = self._consumer.poll(min(timeout_seconds, self._pauses.resume_due()))
        if first is None:
            if not self._healthy:
                self._probe()
            return ()
        # Never consume(n, timeout): it waits for n messages or the whole time-out.
        messages = [first, *self._consumer.consume(max_records - 1, 0)] if max_records > 1 else [first]
        records = []
        for message in messages:
            if (error := message.error()) is not None:
                self._judge(error)
                continue
            record = record_of(message)
            progress = self._progress.get((record.topic, record.partition))
            if progress is None:
                continue  # revoked while it was in hand: it is its next owner's
            if progress.delivered(record):
                records.append(record)
        if records and not self._healthy:
            self._report(True, "")
        return records

    def ack(self, records: Sequence[Record]) -> None:
        """Mark records as done and commit behind them, without waiting for the broker."""
        touched = set()
        for record in records:
            place = (record.topic, record.partition)
            progress = self._progress.get(place)
            if progress is not None and progress.done(record):
                touched.add(place)
        self._commit(touched, wait=False)

    def nack(self, records: Sequence[Record], *, delay_seconds: float = 0.0) -> None:
        """Go back to the first of the records in each of their partitions; with a delay, leave these paused for so long."""
        firsts: dict[Place, Record] = {}
        for record in records:
            place = (record.topic, record.partition)
            if place not in firsts or record.offset < firsts[place].offset:
                firsts[place] = record
        for place, record in firsts.items():
            progress = self._progress.get(place)
            if progress is None or not progress.back_to(record):
                continue
            if delay_seconds > 0:
                self._pauses.rest(place, delay_seconds)
            self._consumer.seek(TopicPartition(*place, record.offset))

    def keep_alive(self) -> None:
        """Stay in the group, every partition paused until the next `receive`. Returns at once."""
        self._pauses.hold()
        message = self._consumer.poll(0)
        if message is not None and (error := message.error()) is not None:
            self._judge(error)  # nothing else comes from paused partitions

    def before_revoke(self, finish: Callable[[float], None]) -> None:
        """Have `finish(seconds)` called before partitions go to another member; what it acknowledges counts."""
        self._finish = finish

    def close(self) -> None:
        """Commit what is done, then leave the group, without waiting for a broker that is away. Calling it twice does nothing."""
        if not self._closed:
            self._closed = True
            leave(self._consumer, lambda: self._commit(self._progress, wait=True))

    def _commit(self, places: Iterable[Place], *, wait: bool) -> None:
        """Commit behind what is done; with `wait`, return when the broker answered, or `_ANSWER_SECONDS` later."""
        offsets = []
        for place in places:
            offset = self._progress[place].to_commit()
            if offset is not None:
                offsets.append(TopicPartition(*place, offset))
        if not offsets:
            return
        try:
            if wait:
                within(_ANSWER_SECONDS, "commit", lambda: self._consumer.commit(offsets=offsets, asynchronous=False))
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as failed:
            # The records come again to whoever owns the partition next: at-least-once holds.
            log.warning("offset commit failed", extra={"group": self._group, "reason": str(failed)})

    def _committed(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("offset commit failed", extra={"group": self._group, "reason": str(error)})

    def _assigned(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._progress[partition.topic, partition.partition] = Progress()
        if self._pauses.holding:
            consumer.incremental_assign(partitions)
            consumer.pause(partitions)

    def _revoked(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self._finish(self._finish_seconds)
        self._commit([p for p in _places(partitions) if p in self._progress], wait=True)
        self._lost(consumer, partitions)

    def _lost(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions without a commit: another member may already be past these offsets."""
        for place in _places(partitions):
            self._progress.pop(place, None)
            self._pauses.forget(place)

    def _judge(self, error: KafkaError) -> None:
        """Keep what the caller must know for the next `receive`, behind the records in hand; report the rest as health and carry on."""
        if error.fatal():
            self._surfacing = MillraceError(f"consumer of {self._group} is beyond repair: {error.str()}")
            return
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            self._surfacing = Unavailable(f"fell out of group {self._group}: {error.str()}")
            return
        log.warning("kafka consumer error", extra={"group": self._group, "kafka_error": error.name(), "reason": error.str()})
        self._report(False, f"{error.name()}: {error.str()}")

    def _error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self._report(False, self._connection.explain(f"{error.name()}: {error.str()}"))

    def _probe(self) -> None:
        """Ask an idle cluster whether it is back; no record may ever say so."""
        if monotonic() >= self._probe_at:
            self._probe_at = monotonic() + _PROBE_EVERY_SECONDS
            try:
                self._consumer.list_topics(timeout=0.5)
            except KafkaException:
                return
            self._report(True, "")

    def _report(self, ok: bool, reason: str) -> None:
        self._healthy = ok
        self._on_health(ok, reason)


def _places(partitions: Iterable[TopicPartition]) -> list[Place]:
    return [(partition.topic, partition.partition) for partition in partitions]


def ignore_health(ok: bool, reason: str) -> None:
    """Health nobody listens to."""


def _wait_for_nothing(seconds: float) -> None:
    """Nobody asked to finish anything."""
