"""The relay: publishes the outbox, in order, and removes what the broker has.

One relay a store works at a time. Of one topic and key one row is under way at a time: librdkafka keeps order, except past a time-out.
A successor of a relay that did not leave cleanly waits until nothing of it can still be under way. Rows the broker refused together
are tried once more, each in a record batch of its own: that refusal is for good, and blocks the row's key. A producer that a fatal
error ended is replaced, once nothing can come of it any more.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from confluent_kafka import KafkaError, Message

from millrace.clock import Clock, micros, utc_now
from millrace.errors import MillraceError, PermanentError, TransientError, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer, as_error
from millrace.observability.health import Health
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.contract import Lease, Store
from millrace.store.faults import Fault, classify

log = logging.getLogger(__name__)
_HEADERS = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])

Lane: TypeAlias = tuple[str, bytes | None]
"""A topic and key, within which order is kept; without a key there is none."""


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """How often the relay looks without being woken, and how much it takes at a time.

    A round waits `round_seconds` for its reports; what takes longer (a partition without a leader, a topic that is not there) goes on
    meanwhile, and holds up its own keys only. Messages refused for good are tried again every `refused_seconds`: a limit may be raised.
    """

    sweep_seconds: float = 1.0
    max_batch: int = 1000
    round_seconds: float = 0.2
    refused_seconds: float = 60.0
    probe_seconds: float = 5.0


class Relay:
    """Publishes one store's outbox until stopped."""

    def __init__(
        self,
        config: RelayConfig,
        kafka: KafkaConfig,
        store: Store,
        health: Health,
        metrics: PipelineMetrics,
        clock: Clock = utc_now,
    ) -> None:
        self._config = config
        self._store = store
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._kafka = kafka
        self._producer = KafkaProducer(kafka, self._on_error)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay")
        self._delivered: dict[int, OutboxRow] = {}
        self._doubted: list[OutboxRow] = []
        self._refused: dict[int, Lane] = {}
        self._in_flight: set[Lane] = set()
        self._under_way: set[int] = set()
        self._failed: set[Lane] = set()
        self._answers = True
        self._next_probe = self._next_refused = 0.0
        self._grace_seconds = kafka.message_timeout_seconds + 1

    def start(self) -> None:
        """Begin to publish; waits for the lease, the database and the broker as long as it takes."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something in the outbox. From any thread."""
        self._wake.set()

    def stop(self) -> None:
        """Publish what is there, wait for its delivery as long as the broker may take, and give the lease back.

        Ends within twice that time, whatever is left in the outbox: the next relay publishes it.
        """
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                lease = self._store.try_lease()
            except Exception as error:
                self._database_fault(error)
                lease = None
            if lease is None:
                self._probe()
                self._follow()
                continue
            stop_listening = self._store.listen(self.wake)
            try:
                clean = self._lead(lease)
            finally:
                stop_listening()
            if clean:
                lease.release()
            else:
                lease.abandon()

    def _follow(self) -> None:
        """Pass on to the relay that leads, in another process, that there is something to publish; until it is time to try to lead."""
        until = time.monotonic() + self._config.sweep_seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if self._wake.wait(left) and not self._stopping.is_set():
                self._wake.clear()
                try:
                    self._store.wake_relay()
                except Exception as error:
                    self._database_fault(error)

    def _lead(self, lease: Lease) -> bool:
        """Publish for as long as the lease holds; return whether nothing is left under way."""
        log.info("relay leads", extra={"predecessor_left_cleanly": lease.predecessor_left_cleanly})
        if not lease.predecessor_left_cleanly:
            self._stopping.wait(self._grace_seconds)
        self._refused.clear()
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if not self._round(lease):
                    self._probe()
                    self._wake.wait(self._config.sweep_seconds)
            self._finish(lease)
        except Exception as error:
            self._database_fault(error)
        return self._drain()

    def _finish(self, lease: Lease) -> None:
        """Publish what is left, while the broker takes it: what it gives no answer for is the next relay's."""
        until = time.monotonic() + self._grace_seconds
        while self._round(lease) and self._answers and time.monotonic() < until:
            pass

    def _round(self, lease: Lease) -> bool:
        """Publish the head of the outbox; return whether more may follow at once."""
        if time.monotonic() >= self._next_refused:
            self._next_refused = time.monotonic() + self._config.refused_seconds
            self._refused.clear()
        with lease.session.transaction() as tx:
            rows = tx.outbox.head(self._config.max_batch, list(self._refused))
        self._failed = {lane for lane in self._refused.values() if lane[1] is not None}
        self._doubted.clear()
        refused = set(self._failed)
        passed: set[Lane] = set()  # reports come while we send: a key that gets free now has rows we have passed
        for row in rows:
            lane = (row.topic, row.key)
            if row.id in self._delivered or row.id in self._under_way:
                continue
            if lane in refused:
                self._refused[row.id] = lane  # skipped from now on, so that it does not hide what comes behind it
            if lane in passed or lane in self._in_flight or lane in self._failed:
                passed.add(lane)
                continue
            if row.key is not None:
                passed.add(lane)
            self._send(row, lane)
        self._producer.flush(self._config.round_seconds)
        if self._doubted:
            self._send_alone()
        if self._producer.broken:
            self._renew_producer()
        delivered, self._delivered = list(self._delivered.values()), {}
        if delivered:
            with lease.session.transaction() as tx:
                tx.outbox.delivered(delivered, micros(self._clock()))
            self._metrics.delivered(len(delivered))
            self._answers = True
            self._health.report("kafka", True)
        return bool(delivered and rows) or bool(self._under_way)

    def _send_alone(self) -> None:
        """Try the rows that were refused together once more, each in a record batch of its own."""
        doubted, self._doubted = self._doubted, []
        log.warning("messages refused together, sent again one by one", extra={"messages": len(doubted)})
        for row in doubted:
            self._send(row, (row.topic, row.key), alone=True)
        self._producer.flush(self._grace_seconds)

    def _send(self, row: OutboxRow, lane: Lane, *, alone: bool = False) -> None:
        def reported(error: KafkaError | None, _: Message) -> None:
            self._in_flight.discard(lane)
            self._under_way.discard(row.id)
            if error is None:
                self._delivered[row.id] = row
            else:
                self._not_delivered(row, lane, as_error(error, self._producer.explain), at_fault=alone)

        if row.key is not None:
            self._in_flight.add(lane)
        self._under_way.add(row.id)
        try:
            self._producer.send(row.topic, row.key, row.payload, _HEADERS.decode(row.headers), reported, alone=alone)
        except (PermanentError, TransientError) as error:
            self._in_flight.discard(lane)
            self._under_way.discard(row.id)
            self._not_delivered(row, lane, error, at_fault=True)
        self._producer.poll()

    def _not_delivered(self, row: OutboxRow, lane: Lane, error: MillraceError, *, at_fault: bool) -> None:
        """Hold back what comes behind a row of the same key: for this round, or, where the row itself is refused, for ever."""
        if row.key is not None:
            self._failed.add(lane)
        if not isinstance(error, PermanentError):
            self._answers = False
            self._health.report("kafka", False, str(error))
        elif at_fault:
            self._refused[row.id] = lane
            log.error("message refused for good, its key is blocked", extra={"outbox_id": row.id, "kafka_error": str(error)})
        else:
            self._doubted.append(row)

    def _renew_producer(self) -> None:
        """Go on with a new producer, once the broken one has nothing under way; what it did not deliver is still in the outbox."""
        self._producer.flush(self._grace_seconds)
        self._in_flight.clear()
        self._under_way.clear()
        self._producer = KafkaProducer(self._kafka, self._on_error)
        log.warning("relay goes on with a new producer")

    def _drain(self) -> bool:
        return self._producer.flush(self._grace_seconds) == 0

    def _probe(self) -> None:
        """Ask the broker whether it is there, now and then, when no message tells."""
        if time.monotonic() < self._next_probe:
            return
        try:
            self._producer.probe(2.0)
            self._health.report("kafka", True)
            self._next_probe = time.monotonic() + self._config.probe_seconds
        except Unavailable as error:
            self._health.report("kafka", False, str(error))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._health.report("kafka", False, self._producer.explain("no broker answers"))

    def _database_fault(self, error: Exception) -> None:
        if classify(error) is Fault.BUG:
            log.error("relay starts over", exc_info=error)
        else:
            log.warning("relay waits for the database", extra={"reason": str(error)})
            self._health.report("database", False, str(error))
        self._stopping.wait(self._config.sweep_seconds)
