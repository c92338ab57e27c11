"""The consumer's thread: reads batches, has the engine decide them, and commits Kafka's offsets behind, as a courtesy to tools.

It alone touches the Kafka consumer. The truth about positions is in the store (see `claiming`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from tenacity import Retrying, retry_if_exception, stop_when_event_set, wait_exponential

from millrace.errors import PositionLost
from millrace.kafka.closing import leave
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.records import end_of, record_of
from millrace.kafka.topics import TopicIds
from millrace.message import Record
from millrace.observability.health import Health
from millrace.pipeline.assignment import Assignment, TopicPart
from millrace.pipeline.claiming import OWN_COMMIT, Claims
from millrace.pipeline.engine import Batch, Engine
from millrace.pipeline.flow import Flow
from millrace.pipeline.timing import DueWork
from millrace.store.contract import Session, Store
from millrace.store.faults import is_away

log = logging.getLogger(__name__)

PACE_SECONDS = 0.04
"""How often batches begin at most, unless a service says otherwise."""

_SLOW_MS = 100
_FETCH_BYTES = 65_536

# The client is beyond repair: another member has our group.instance.id, for instance.
_ENDED = frozenset((KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID))


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """What one service reads. `reply_topics` are those whose messages can make a timer superfluous.

    A batch begins `pace_seconds` after the one before at the earliest: messages that trickle in are handled together, as a batch costs
    more than a message. The first after a pause does not wait.

    With `max_parked` messages parked nothing more is read until some are released, and with `max_parked_per_key` of one key nothing of the
    partitions it comes from: failing messages must not fill the database.
    """

    topics: Sequence[str]
    reply_topics: Sequence[str] = ()
    max_batch: int = 500
    poll_seconds: float = 0.1
    pace_seconds: float = PACE_SECONDS
    sweep_seconds: float = 0.25
    commit_seconds: float = 1.0
    away_seconds: float = 0.2
    max_parked: int = 100_000
    max_parked_per_key: int = 10_000

    def fetch_settings(self) -> dict[str, int]:
        """Have the broker keep a slow pace: it answers that often, not each time something came in."""
        wait_ms = round(self.pace_seconds * 1000)
        return {"fetch.min.bytes": _FETCH_BYTES, "fetch.wait.max.ms": wait_ms} if wait_ms >= _SLOW_MS else {}


class PipelineConsumer:
    """Reads topics for an engine until stopped."""

    def __init__(self, config: ConsumerConfig, kafka: KafkaConfig, engine: Engine, store: Store, health: Health) -> None:
        self._config = config
        self._kafka = kafka
        self._engine = engine
        self._session: Session = store.session()
        self._health = health
        topic_ids = TopicIds(kafka)
        self._connection = ConnectionLog()
        self._assignment = Assignment()
        self._claims = Claims(engine.group, self._session, topic_ids)
        self._due = DueWork(engine, self._session, topic_ids, config.reply_topics, config.max_parked_per_key)
        self._stopping = threading.Event()
        self._doubted: set[TopicPart] = set()
        self._ends_seen: list[tuple[TopicPart, int]] = []
        self._flow = Flow()
        self._thread = threading.Thread(target=self._run, name="consumer")
        self._next_sweep = self._next_commit = self._next_claim = self._next_batch = 0.0
        self._uncommitted = False

    def start(self) -> None:
        """Begin to read. Returns at once; a broker or database that is away is waited for."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch in hand, commit, leave the group, and end the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            consumer = Consumer(
                {
                    **self._kafka.consumer_settings(self._engine.group),
                    **self._config.fetch_settings(),
                    "enable.partition.eof": True,  # tells that all was read where the last offset is no record's
                    "error_cb": self._on_error,
                    "on_commit": self._on_commit,
                },
                logger=self._connection,
            )
            self._assignment = Assignment()
            self._doubted.clear()
            self._ends_seen.clear()
            try:
                consumer.subscribe(
                    list(self._config.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                )
                while not self._stopping.is_set():
                    self._turn(consumer)
            except Exception:
                log.exception("consumer starts over")
                self._stopping.wait(1.0)
            leave(consumer, partial(self._commit, consumer, synchronous=True) if self._stopping.is_set() else None)
        self._session.close()

    def _turn(self, consumer: Consumer) -> None:
        now = time.monotonic()
        if self._assignment.unclaimed and now >= self._next_claim:
            self._claim(consumer)
        records = self._receive(consumer)
        due_keys: Sequence[str] = ()
        timers: Sequence[Any] = ()
        if now >= self._next_sweep:
            self._next_sweep = now + self._config.sweep_seconds
            due_keys, timers = self._until_database(consumer, lambda: self._due.find(self._assignment)) or ((), ())
            if self._flow.heed(self._due.parked, self._config.max_parked, self._due.crowded):
                self._regulate(consumer)
        if records or due_keys or timers:
            self._process(consumer, records, due_keys, timers)
        self._note_ends()
        if self._uncommitted and time.monotonic() >= self._next_commit:
            self._commit(consumer, synchronous=False)

    def _receive(self, consumer: Consumer) -> list[Record]:
        first = consumer.poll(self._config.poll_seconds)
        if first is None:
            return []
        self._stopping.wait(self._next_batch - time.monotonic())
        self._next_batch = time.monotonic() + self._config.pace_seconds
        more = consumer.consume(self._config.max_batch - 1, 0)
        records = [record for message in (first, *more) if (record := self._record(message)) is not None]
        if records:
            self._health.report("kafka", True)
        return records

    def _record(self, message: KafkaMessage) -> Record | None:
        error = message.error()
        if error is not None:
            if error.fatal() or error.code() in _ENDED:
                self._health.report("kafka", False, f"{error.name()}: {error.str()}")
                raise KafkaException(error)
            if error.code() == KafkaError._PARTITION_EOF:
                self._ends_seen.append(end_of(message))
                return None
            log.warning("consumer error", extra={"kafka_error": str(error), "kafka_code": error.name()})
            return None
        return record_of(message)

    def _note_ends(self) -> None:
        """Note where partitions were read to their ends, now that what came before is handled: the last offset may be no record's."""
        for part, offset in self._ends_seen:
            self._assignment.reached(part, offset)
        self._ends_seen.clear()

    def _process(self, consumer: Consumer, records: Sequence[Record], due_keys: Sequence[str], timers: Sequence[Any]) -> None:
        decode = self._engine.decoder.decode

        def attempt() -> None:
            own = self._assignment.own(records)
            moves = self._assignment.moves(own)
            inputs = [*(decode(record) for record in own), *timers]
            if not inputs and not due_keys:
                return
            try:
                self._engine.process(self._session, Batch(inputs, moves, due_keys))
            except PositionLost:
                log.warning("positions lost, claimed anew", extra={"partitions": len(moves)})
                lost = [(m.partition.topic, m.partition.partition) for m in moves]
                self._assignment.doubt(lost)
                self._doubted.update(lost)
                self._regulate(consumer, lost)
                return
            self._assignment.moved(moves)
            self._uncommitted = self._uncommitted or bool(moves)

        self._until_database(consumer, attempt)

    def _until_database(self, consumer: Consumer, work: Callable[[], Any]) -> Any:
        """Do `work`, again and again while the database is away: partitions paused, but polled, so that the group keeps us.

        Returns None if told to stop meanwhile. Raises what is no matter of waiting.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_away),
            stop=stop_when_event_set(self._stopping),
            wait=wait_exponential(self._config.away_seconds, 5),
            sleep=lambda seconds: self._wait(consumer, seconds),
            before_sleep=lambda state: self._database_is_away(consumer, str(state.outcome.exception() if state.outcome else "")),
            reraise=True,
        )
        try:
            result = retrying(work)
        except Exception as error:
            if is_away(error):
                return None
            raise
        self._health.report("database", True)
        if self._flow.away:
            self._flow.away = False
            self._regulate(consumer)
        return result

    def _wait(self, consumer: Consumer, seconds: float) -> None:
        """Keep polling while nothing can be done. What is delivered nevertheless comes again: its partition is claimed anew."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping.is_set():
            message = consumer.poll(min(0.1, seconds))
            if message is not None and (record := self._record(message)) is not None:
                self._assignment.doubt([(record.topic, record.partition)])

    def _database_is_away(self, consumer: Consumer, reason: str) -> None:
        self._health.report("database", False, reason)
        if not self._flow.away:
            self._flow.away = True
            self._regulate(consumer)

    def _regulate(self, consumer: Consumer, parts: Iterable[TopicPart] | None = None) -> None:
        """Pause and resume these partitions, or else all that the group assigned, as the flow says."""
        if parts is None:
            parts = [(p.topic, p.partition) for p in consumer.assignment()]
        self._flow.regulate(consumer, parts, self._assignment.held)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        parts = [(p.topic, p.partition) for p in partitions]
        self._doubted.difference_update(parts)
        consumer.incremental_assign([TopicPartition(*part, OFFSET_BEGINNING) for part in parts])  # the claim seeks
        consumer.pause(partitions)
        self._assignment.doubt(parts)
        self._next_claim = 0.0
        log.info("partitions assigned", extra={"partitions": len(parts)})

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        parts = [(p.topic, p.partition) for p in partitions]
        self._commit(consumer, synchronous=False, only=set(parts))
        self._assignment.drop(parts)
        self._doubted.difference_update(parts)
        consumer.incremental_unassign(partitions)
        log.info("partitions revoked", extra={"partitions": len(parts)})

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        parts = [(p.topic, p.partition) for p in partitions]
        self._assignment.drop(parts)
        self._doubted.difference_update(parts)
        consumer.incremental_unassign(partitions)
        log.warning("partitions lost", extra={"partitions": len(partitions)})

    def _claim(self, consumer: Consumer) -> None:
        """Become the owner, in the store, of what the group assigned, and read on from the stored positions."""
        parts = sorted(self._assignment.unclaimed)
        self._next_claim = time.monotonic() + self._config.away_seconds
        try:
            claimed = self._claims.claim(consumer, parts, self._doubted)
            # Not assigned anew: outside a rebalance's callback librdkafka takes that for the answer to one.
            for start in claimed.starts:
                consumer.seek(start)
        except KafkaException as error:
            self._health.report("kafka", False, str(error))
            return
        except Exception as error:
            if not is_away(error):
                raise
            self._health.report("database", False, str(error))
            return
        self._health.report("database", True)
        self._doubted.difference_update(parts)
        self._assignment.claimed(claimed.positions)
        self._regulate(consumer, [(start.topic, start.partition) for start in claimed.starts])
        self._uncommitted = True

    def _commit(self, consumer: Consumer, *, synchronous: bool, only: set[TopicPart] | None = None) -> None:
        """Tell Kafka how far the store is. A refusal costs nothing: the store's positions are the true ones."""
        self._next_commit = time.monotonic() + self._config.commit_seconds
        offsets = [
            TopicPartition(*part, position.next_offset, OWN_COMMIT)
            for part, position in self._assignment.held.items()
            if position.next_offset is not None and (only is None or part in only)
        ]
        if only is None:
            self._uncommitted = False
        if not offsets:
            return
        try:
            if synchronous:
                consumer.commit(offsets=offsets, asynchronous=False)
            else:
                consumer.commit(offsets=offsets)
        except KafkaException as error:
            log.warning("offsets not committed", extra={"kafka_error": str(error)})

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Commit again later what a rebalance, for instance, refused."""
        if error is not None or any(partition.error for partition in partitions):
            self._uncommitted = True

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._health.report("kafka", False, self._connection.explain("no broker answers"))
