"""Turns what confluent-kafka delivers into a `Record`. Used by every reader of Kafka."""

from typing import Any

from millrace.message import Record


def record_of(message: Any) -> Record:
    """Return a delivered message, byte for byte. It must not carry an error."""
    headers = tuple(message.headers() or ())  # None, not an empty list, where there are none
    return Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers)
