"""A message, and the record it travels in.

`Message` is what handlers and publishers see. `Record` is what a broker delivered, byte for byte, before anyone judged it.
Neither knows about Kafka's client: `millrace.kafka` turns them into its calls, `millrace.envelope` into headers.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

CORRELATION_ID = "ce_correlationid"
CAUSATION_ID = "ce_causationid"
SEQUENCE = "ce_sequence"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def new_id() -> str:
    """Return a random (version 4) UUID as text."""
    return str(UUID(bytes=os.urandom(16), version=4))


def utc_now() -> datetime:
    """Return the present as an aware UTC time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Message:
    """One immutable message.

    `type` is the full name of its protobuf type, `payload` the serialised bytes, `key` what order is kept by (None: no order).
    `headers` carry everything beyond the CloudEvents core by its name on the wire, such as `ce_correlationid` or `traceparent`.
    """

    type: str
    payload: bytes
    key: str | None = None
    source: str = ""
    id: str = field(default_factory=new_id)
    time: datetime = field(default_factory=utc_now)
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)


@dataclass(frozen=True, slots=True)
class Record:
    """What a broker delivered: raw key, value and headers, and where they stood. `value` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
