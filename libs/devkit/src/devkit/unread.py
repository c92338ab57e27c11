"""Counts what a service has not read: records, not offsets, as transaction markers and expired records have offsets too."""

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition


def unread(bootstrap: str, positions: Sequence[tuple[str, int, int]]) -> int:
    """Return how many records lie at or behind the positions (topic, partition, next offset). Raises KafkaException."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unread",  # never joined, never committed to
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    ended: set[tuple[str, int]] = set()
    found = 0
    try:
        consumer.assign([TopicPartition(*position) for position in positions])
        while len(ended) < len(positions):
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    found += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add((message.topic() or "", message.partition() or 0))
    finally:
        consumer.close()
    return found
