"""Reads and writes the shop's topics as a stranger would: a plain client, no library of ours, no consumer group."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

from shopkit.topics import GROUPS, PARTITIONS, all_topics

_ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One record as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None]

    @property
    def type(self) -> str:
        """Return the message's type, without its package; empty where the record says none."""
        return self.text("ce_type").rpartition(".")[2]

    @property
    def id(self) -> str:
        """Return the message's id; empty where the record says none."""
        return self.text("ce_id")

    def text(self, header: str) -> str:
        """Return a header as text; empty if it is not there."""
        return (self.headers.get(header) or b"").decode(errors="replace")


def topic_names(*, dead_letters: bool = False) -> list[str]:
    """Return the names of all topics that messages are published to, or of all dead letter topics."""
    return [spec.name for spec in all_topics() if spec.name.endswith(".dlt") == dead_letters]


def read_all(bootstrap: str, topics: Iterable[str]) -> list[Seen]:
    """Return every record that is on these topics now, in the order of each partition."""
    parts = [TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in range(PARTITIONS)]
    consumer = _consumer(bootstrap)
    try:
        ends = _ends(consumer, parts)
        missing = {place for place, (low, high) in ends.items() if high > low}
        consumer.assign([part for part in parts if (part.topic, part.partition) in missing])
        found: list[Seen] = []
        give_up_at = time.monotonic() + _ANSWER_SECONDS
        while missing:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"records were not delivered in time: {sorted(missing)}")
            for message in consumer.consume(5000, 0.2):
                if message.error() is not None:
                    continue
                seen = _seen(message)
                found.append(seen)
                if seen.offset + 1 >= ends[seen.topic, seen.partition][1]:
                    missing.discard((seen.topic, seen.partition))
        return found
    finally:
        consumer.close()


def count_all(bootstrap: str, topics: Iterable[str]) -> int:
    """Return how many records were ever put on these topics."""
    parts = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    consumer = _consumer(bootstrap)
    try:
        return sum(high for _, high in _ends(consumer, parts).values())
    finally:
        consumer.close()


@dataclass(frozen=True, slots=True)
class Raw:
    """A record to be put on a partition, as it is."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def write(bootstrap: str, records: Iterable[Raw]) -> None:
    """Put records on their partitions, and return once the broker has all of them."""
    refused: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0})

    def reported(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append(str(error))

    for raw in records:
        producer.produce(raw.topic, raw.value, raw.key, partition=raw.partition, headers=list(raw.headers), on_delivery=reported)
    left = producer.flush(_ANSWER_SECONDS)
    if left or refused:
        raise RuntimeError(f"{left} records unanswered, refused: {refused[:3]}")


def all_read(bootstrap: str) -> bool:
    """Tell whether every consumer group of the shop has committed all that was on its topics."""
    return all(_has_read(bootstrap, group.id, group.topics) for group in GROUPS)


def _has_read(bootstrap: str, group: str, topics: Iterable[str]) -> bool:
    parts = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    # Not list_consumer_group_offsets, which can end the process (confluent-kafka 2.16) while the coordinator is not ready.
    consumer = _consumer(bootstrap, group)
    try:
        ends = _ends(consumer, parts)
        done = {(part.topic, part.partition): part.offset for part in consumer.committed(parts, timeout=_ANSWER_SECONDS)}
        return not any(high > low and done[place] < high for place, (low, high) in ends.items())
    finally:
        consumer.close()


def _consumer(bootstrap: str, group: str = "tests-without-a-group") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "log_level": 0,
        }
    )


def _ends(consumer: Consumer, parts: Iterable[TopicPartition]) -> dict[tuple[str, int], tuple[int, int]]:
    return {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=_ANSWER_SECONDS) for p in parts}


def _seen(message: Message) -> Seen:
    headers: Any = message.headers() or ()
    return Seen(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        dict(headers),
    )
