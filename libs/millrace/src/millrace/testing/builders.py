"""Builds messages and records as a broker would deliver them, from nothing but their protobuf body."""

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from millrace.envelope import encode_headers
from millrace.message import Message, Record, new_id

START = datetime(2026, 1, 1, tzinfo=UTC)
_NO_HEADERS: Mapping[str, str] = {}


def message(
    body: Protobuf,
    *,
    message_id: str = "",
    time: datetime = START,
    source: str = "/test",
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Message:
    """Return a message with this body, keyed as its type says; without `message_id` its id is new.

    Raises UnknownType where the type declares no topic, Invalid where its key field is empty.
    """
    route = route_of(type(body))
    payload = body.SerializeToString(deterministic=True)
    return Message(route.type, payload, route.key(body), source, message_id or new_id(), time, headers)


def record(
    body: Protobuf,
    *,
    partition: int = 0,
    offset: int = 0,
    message_id: str = "",
    time: datetime = START,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Record:
    """Return a message with this body as a record of its type's topic. The same record handed in again is a redelivery."""
    built = message(body, message_id=message_id, time=time, headers=headers)
    key = None if built.key is None else built.key.encode()
    return Record(route_of(type(body)).topic, partition, offset, key, built.payload, tuple(encode_headers(built)))
