"""Reads all that is on a topic now, as tools do: no group is joined, nothing is committed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition

from millrace.errors import NotFound, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.records import record_of
from millrace.message import Record

_SILENCE_SECONDS = 10.0


def read_whole(config: KafkaConfig, topic: str) -> Iterator[tuple[Record, datetime]]:
    """Yield each committed record of a topic with its time, in the order of each partition, up to where the topic ends now.

    Raises NotFound where there is no such topic, Unavailable where the broker does not answer for 10 s.
    """
    connection = ConnectionLog()
    settings = config.consumer_settings("millrace-tools") | {"enable.partition.eof": True}
    consumer = Consumer(settings, logger=connection)
    try:
        known = consumer.list_topics(topic, timeout=_SILENCE_SECONDS).topics[topic]
        if known.error is not None:
            raise NotFound(f"there is no topic {topic}")
        unread = set(known.partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
        give_up_at = monotonic() + _SILENCE_SECONDS
        while unread:
            message = consumer.poll(0.5)
            if message is None:
                if monotonic() >= give_up_at:
                    raise Unavailable(connection.explain(f"{topic} cannot be read: no answer for {_SILENCE_SECONDS:g} s"))
                continue
            give_up_at = monotonic() + _SILENCE_SECONDS
            error = message.error()
            if error is None:
                kind, at_ms = message.timestamp()
                yield record_of(message), datetime.fromtimestamp(0 if kind == TIMESTAMP_NOT_AVAILABLE else at_ms / 1000, UTC)
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
            else:
                raise KafkaException(error)
    except KafkaException as error:
        consumer.poll(0)  # the client's log, too, is handed over while it is polled
        raise Unavailable(connection.explain(f"{topic} cannot be read: {error.args[0].str()}")) from error
    finally:
        consumer.close()
