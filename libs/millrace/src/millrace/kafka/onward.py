"""Reads topics from their beginnings to where they end, and on from there: no group is joined, nothing is committed."""

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from millrace.errors import NotFound, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.records import end_of, record_of
from millrace.kafka.topics import TopicIds
from millrace.message import Record

_SILENCE_SECONDS = 10.0


class OnwardReader:
    """Reads every partition of some topics. `positions` are the next offsets, by topic and partition; one thread uses it.

    Raises NotFound where a topic is missing, Unavailable where the broker does not answer.
    """

    def __init__(self, config: KafkaConfig, topics: Sequence[str]) -> None:
        self._connection = ConnectionLog()
        self._topic_ids = TopicIds(config)
        try:
            self.topic_ids: Mapping[str, tuple[str, int]] = self._topic_ids.of(set(topics))
        except KafkaException as error:
            raise self._fault(error) from error
        parts = [(topic, number) for topic, (_, count) in sorted(self.topic_ids.items()) for number in range(count)]
        self.positions = dict.fromkeys(parts, 0)
        self._consumer = Consumer(
            config.consumer_settings("millrace-tools") | {"enable.partition.eof": True}, logger=self._connection
        )
        self._consumer.assign([TopicPartition(*part, OFFSET_BEGINNING) for part in parts])

    def to_end(self, most: int = 500) -> Iterator[list[Record]]:
        """Yield the committed records up to where the topics end now, each partition's in order, up to `most` at a time."""
        try:
            ends = self._topic_ids.ends(list(self.positions))
            heard_at = monotonic()
            while any(self.positions[part] < end for part, end in ends.items()):
                messages = self._consumer.consume(most, 0.2)
                if messages:
                    heard_at = monotonic()
                elif monotonic() - heard_at > _SILENCE_SECONDS:
                    raise Unavailable(self._connection.explain(f"no answer from Kafka for {_SILENCE_SECONDS:g} s"))
                records: list[Record] = []
                for message in messages:
                    error = message.error()
                    if error is None:
                        records.append(record_of(message))
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                yield records
                for record in records:
                    self.positions[record.topic, record.partition] = record.offset + 1
                for message in messages:
                    if message.error() is not None:
                        part, offset = end_of(message)
                        self.positions[part] = max(self.positions[part], offset)
        except KafkaException as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _fault(self, error: KafkaException) -> NotFound | Unavailable:
        reason = error.args[0]
        if reason.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return NotFound(f"a topic is missing: {reason.str()}")
        return Unavailable(self._connection.explain(f"Kafka cannot be read: {reason.str()}"))
