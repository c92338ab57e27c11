"""Hears every record of some topics, in this process as in every other: what all instances must know of, whichever of them handles it.

No member of a group, and it commits nothing: partitions are assigned by hand. It begins where `group` has committed, so that it hears all
that the group has not handled yet; what the group has handled is in the store, for everyone to read. Used for caches (`millrace.cache`).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from millrace.kafka.closing import leave
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.records import record_of
from millrace.message import Record

log = logging.getLogger(__name__)
_ANSWER_SECONDS = 3.0
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 1.0


class Broadcast:
    """Calls `hear` with each record, on a thread of its own, and `start_over` first, and again whenever records may have been missed.

    A broker that is away, or a topic that is not there, is waited for. New partitions are found within `look_every_seconds`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        group: str,
        topics: Sequence[str],
        hear: Callable[[Record], object],
        start_over: Callable[[], object],
        *,
        look_every_seconds: float = 60.0,
    ) -> None:
        self._topics = sorted(topics)
        self._hear = hear
        self._start_over = start_over
        self._look_every_seconds = look_every_seconds
        self._connection = ConnectionLog()
        self._settings = {
            **config.client_settings(),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "queued.max.messages.kbytes": 1_024,
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broadcast")

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within seconds also where the broker is away."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        consumer = Consumer({**self._settings, "error_cb": lambda _: None}, logger=self._connection)
        told = False
        while not self._stopping.is_set():
            try:
                parts = self._partitions(consumer)
                self._assign(consumer, parts)
                told = False
                self._follow(consumer, parts)
            except KafkaException as away:
                if not told:
                    log.warning("broadcast waits for the broker", extra={"reason": self._connection.explain(str(away))})
                told = True
                self._stopping.wait(_RETRY_SECONDS)
        leave(consumer)

    def _assign(self, consumer: Consumer, parts: Sequence[TopicPartition]) -> None:
        committed = consumer.committed(list(parts), timeout=_ANSWER_SECONDS)
        starts = [TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else OFFSET_BEGINNING) for p in committed]
        consumer.assign(starts)
        self._start_over()

    def _follow(self, consumer: Consumer, parts: Sequence[TopicPartition]) -> None:
        """Hear records until told to stop, or the topics have other partitions."""
        look_at = monotonic() + self._look_every_seconds
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_SECONDS)
            if message is not None:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                self._tell(record_of(message))
            if monotonic() >= look_at:
                if self._partitions(consumer) != parts:
                    return
                look_at = monotonic() + self._look_every_seconds

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        found: list[TopicPartition] = []
        for topic in self._topics:
            known = consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
            if known.error is not None:
                raise KafkaException(known.error)
            found += [TopicPartition(topic, partition) for partition in sorted(known.partitions)]
        return found

    def _tell(self, record: Record) -> None:
        try:
            self._hear(record)
        except Exception:
            log.exception("a record could not be heard", extra={"kafka_topic": record.topic, "kafka_offset": record.offset})
