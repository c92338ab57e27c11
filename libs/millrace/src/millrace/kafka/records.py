"""Turns what confluent-kafka delivers into a `Record`. Used by every reader of Kafka."""

from typing import Any

from millrace.message import Record


def record_of(message: Any) -> Record:
    """Return a delivered message, byte for byte. It must not carry an error."""
    headers = tuple(message.headers() or ())  # None, not an empty list, where there are none
    return Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers)


def end_of(message: Any) -> tuple[tuple[str, int], int]:
    """Return the partition whose end an end-of-partition event tells of, and the offset behind all there is to read."""
    return (message.topic(), message.partition()), message.offset()
