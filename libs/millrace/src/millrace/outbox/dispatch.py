"""Sends the outbox, round by round, and removes what the broker has. Driven by the relay, for as long as it holds the lease.

Of one topic and key one row is under way at a time: librdkafka keeps order, except past a time-out. What cannot go out now is left out
where the head of the outbox is read, so it hides nothing: keys under way, keys behind a refused message, topics that take no messages. Rows
the broker refused together are tried once more, each in a record batch of its own: that refusal is for good, and blocks the row's key. A
producer that a fatal error ended is replaced, once nothing can come of it any more.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec
from confluent_kafka import KafkaError, Message

from millrace.clock import Clock, micros
from millrace.errors import MillraceError, PermanentError, TopicUnavailable, TransientError, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import DeliveryReport, ErrorReport, KafkaProducer, WireHeaders, as_error
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.holds import Holds
from millrace.outbox.outbox import Lane, LeftOut, OutboxRow
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.contract import Session, Transaction

log = logging.getLogger(__name__)
_HEADERS = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])
_MAX_PAGES = 10
_ASK_SECONDS = 2.0


class RelayProducer(Protocol):
    """What is sent by: `KafkaProducer`, whose promises it repeats."""

    @property
    def broken(self) -> bool:
        """Whether a fatal error ended it."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: WireHeaders,
        on_delivery: DeliveryReport,
        *,
        alone: bool,
    ) -> None:
        """Queue one message."""

    def poll(self) -> int:
        """Call the delivery reports that are due."""

    def flush(self, timeout_seconds: float) -> int:
        """Wait for reports; return how many are still missing."""

    def probe(self, timeout_seconds: float) -> None:
        """Raise Unavailable if no broker answers."""

    def topic_fault(self, topic: str, timeout_seconds: float) -> str | None:
        """Return why a topic takes no messages, or None."""

    def explain(self, what: str) -> str:
        """Return `what`, and why a connection failed."""


Connect: TypeAlias = Callable[[KafkaConfig, ErrorReport], RelayProducer]


class Dispatch:
    """Publishes one store's outbox through a producer of its own. Used by the relay's thread alone."""

    def __init__(
        self,
        config: RelayConfig,
        kafka: KafkaConfig,
        health: Health,
        metrics: PipelineMetrics,
        clock: Clock,
        connect: Connect | None = None,
    ) -> None:
        """`connect` gives the producers; without it they are Kafka's."""
        self._config = config
        self._kafka = kafka
        self._connect: Connect = connect or KafkaProducer
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._producer = self._connect(kafka, self._on_error)
        self._holds = Holds(config)
        self._known: set[str] = set()
        self._in_doubt: set[str] = set()
        self._under_way: dict[int, OutboxRow] = {}
        self._delivered: dict[int, OutboxRow] = {}
        self._doubted: dict[int, OutboxRow] = {}
        self._next_probe = 0.0
        self._grace_seconds = kafka.message_timeout_seconds + 1
        self.answered = True
        """Whether the last that was heard of the broker was an answer."""

    def begin(self) -> None:
        """Take the outbox over: what was refused before may be gone by now."""
        self._holds.forget_refused()

    def round(self, session: Session) -> bool:
        """Publish the head of the outbox; return whether more may follow at once.

        What the broker took is removed in the next round's first transaction, which reads the head in any case: one commit a round.
        """
        self._holds.try_refused()
        held = set(self._holds.topics)
        refused = self._holds.refused
        some = False
        try:
            self._ask_again()
            some = self._send_head(session)
        except Unavailable as silent:
            self._silent(silent)
            self.settle(session)
        self._producer.flush(self._config.round_seconds)
        if self._doubted:
            self._send_alone()
        if self._producer.broken:
            self._renew_producer()
        if self._delivered:
            self._health.report("kafka", True)
            self.answered = True
        moved = bool(self._delivered) or self._holds.refused > refused or bool(self._holds.topics - held)
        self._metrics.held_back(self._holds.blocking, len(self._holds.topics))
        return (some and moved) or bool(self._under_way)

    def settle(self, session: Session) -> None:
        """Remove from the outbox what the broker has: there may be no further round."""
        if self._delivered:
            with session.transaction() as tx:
                gone = self._remove_delivered(tx)
            self._gone(gone)

    def drain(self) -> bool:
        """Wait for what is under way, as long as the broker may take; return whether nothing is left."""
        left = self._producer.flush(self._grace_seconds)
        self._metrics.held_back(0, 0)  # from now on it is another relay that holds them back
        return left == 0

    def probe(self) -> None:
        """Ask the broker whether it is there, now and then, when no message tells."""
        if time.monotonic() < self._next_probe:
            return
        try:
            self._producer.probe(_ASK_SECONDS)
            self._health.report("kafka", True)
            self._next_probe = time.monotonic() + self._config.probe_seconds
        except Unavailable as error:
            self._health.report("kafka", False, str(error))

    def _send_head(self, session: Session) -> bool:
        """Send up to `max_batch` rows, the oldest that can go; return whether there was any row.

        Page after page, each without the keys of the ones before: the rows of one key, of which one can go, do not hide the others.
        Raises Unavailable if no broker tells whether a topic is there.
        """
        passed: set[Lane] = set()  # reports come while we send: a key that gets free now has rows we have passed
        sent = found = 0
        for _ in range(_MAX_PAGES):
            limit = self._config.max_batch - sent
            if limit <= 0 or len(self._under_way) > 2 * self._config.max_batch:
                self.settle(session)
                break
            with session.transaction() as tx:
                gone = self._remove_delivered(tx)
                rows = tx.outbox.head(limit, self._left_out(passed))
            self._gone(gone)
            found += len(rows)
            sent += sum(self._offer(row, passed) for row in rows)
            if len(rows) < limit:
                break
        return found > 0

    def _left_out(self, passed: set[Lane]) -> LeftOut:
        waiting = [*self._under_way.values(), *self._doubted.values()]
        return LeftOut(
            self._holds.topics,
            passed | self._holds.lanes | {row.lane for row in waiting if row.key is not None},
            [*self._holds.ids, *self._delivered, *(row.id for row in waiting if row.key is None)],
        )

    def _offer(self, row: OutboxRow, passed: set[Lane]) -> bool:
        """Send a row if it can go now; return whether it was sent."""
        if row.lane in passed or not self._takes(row.topic):
            return False
        if row.key is not None:
            passed.add(row.lane)
        self._send(row)
        return True

    def _takes(self, topic: str) -> bool:
        """Return whether a topic takes messages; ask the broker where nothing is known of it, or a message failed since."""
        if topic in self._holds.topics:
            return False
        if topic in self._known:
            return True
        fault = self._producer.topic_fault(topic, _ASK_SECONDS)
        if fault is None:
            self._known.add(topic)
        else:
            self._holds.hold(topic, fault)
        return fault is None

    def _ask_again(self) -> None:
        """Ask for the topics that it is time to ask for again. Raises Unavailable if no broker answers."""
        self._known -= self._in_doubt
        self._in_doubt.clear()
        for topic in self._holds.due():
            fault = self._producer.topic_fault(topic, _ASK_SECONDS)
            if fault is None:
                self._holds.release(topic)
                self._known.add(topic)
            else:
                self._holds.hold(topic, fault)

    def _send(self, row: OutboxRow, *, alone: bool = False) -> None:
        def reported(error: KafkaError | None, _: Message) -> None:
            self._under_way.pop(row.id, None)
            if error is None:
                self._delivered[row.id] = row
            else:
                self._not_delivered(row, as_error(error, self._producer.explain), at_fault=alone)

        self._under_way[row.id] = row
        try:
            self._producer.send(row.topic, row.key, row.payload, _HEADERS.decode(row.headers), reported, alone=alone)
        except (PermanentError, TransientError) as error:
            del self._under_way[row.id]
            self._not_delivered(row, error, at_fault=True)
        self._producer.poll()

    def _send_alone(self) -> None:
        """Try the rows that were refused together once more, each in a record batch of its own."""
        doubted, self._doubted = self._doubted, {}
        log.warning("messages refused together, sent again one by one", extra={"messages": len(doubted)})
        for row in doubted.values():
            self._send(row, alone=True)
        self._producer.flush(self._grace_seconds)

    def _not_delivered(self, row: OutboxRow, error: MillraceError, *, at_fault: bool) -> None:
        """Have the row sent again: in the next round, or alone, or, where it is itself refused or its topic takes nothing, much later."""
        if isinstance(error, PermanentError):
            if at_fault:
                self._holds.refuse(row, str(error))
            else:
                self._doubted[row.id] = row
            return
        self._in_doubt.add(row.topic)
        if isinstance(error, TopicUnavailable):
            self._holds.hold(row.topic, str(error))
        else:
            self._silent(error)

    def _silent(self, error: MillraceError) -> None:
        self.answered = False
        self._health.report("kafka", False, str(error))

    def _remove_delivered(self, tx: Transaction) -> Sequence[int]:
        delivered = list(self._delivered.values())
        if delivered:
            tx.outbox.delivered(delivered, micros(self._clock()))
        return [row.id for row in delivered]

    def _gone(self, ids: Sequence[int]) -> None:
        """Forget rows, now that their removal is committed."""
        for row_id in ids:
            del self._delivered[row_id]
        self._holds.gone(ids)
        if ids:
            self._metrics.delivered(len(ids))

    def _renew_producer(self) -> None:
        """Go on with a new producer, once the broken one has nothing under way; what it did not deliver is still in the outbox."""
        self._producer.flush(self._grace_seconds)
        self._under_way.clear()
        self._producer = self._connect(self._kafka, self._on_error)
        log.warning("relay goes on with a new producer")

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._health.report("kafka", False, self._producer.explain("no broker answers"))
