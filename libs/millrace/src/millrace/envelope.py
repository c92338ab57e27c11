"""CloudEvents 1.0 in the binary mode of its Kafka binding: core attributes as `ce_` headers, the payload as the raw value.

Called by publishers and by whoever reads records. It knows nothing of topics, partitions or protobuf types.
Source: CloudEvents Kafka protocol binding 1.0.2, sections 3.2 and 3.1 (key).
"""

from datetime import UTC, datetime
from typing import TypeAlias

from millrace.errors import Undecodable
from millrace.message import Message, Record

CONTENT_TYPE = "application/protobuf"
Headers: TypeAlias = list[tuple[str, bytes]]

_SPEC: Headers = [("ce_specversion", b"1.0"), ("content-type", CONTENT_TYPE.encode())]
_CORE = frozenset(("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"))


def encode_time(time: datetime) -> str:
    """Write an aware time as RFC 3339 in UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_headers(message: Message) -> Headers:
    """Return the headers of a message, core attributes first, in the order `docs/wire-format.md` gives."""
    return [
        *_SPEC,
        ("ce_id", message.id.encode()),
        ("ce_type", message.type.encode()),
        ("ce_source", message.source.encode()),
        ("ce_time", encode_time(message.time).encode()),
        *((name, value.encode()) for name, value in message.headers.items()),
    ]


def decode(record: Record) -> Message:
    """Return the message a record holds. The payload is not looked at.

    Raises Undecodable where an attribute is missing, empty or no UTF-8, or where the time says no offset.
    """
    try:
        headers = {name: value.decode() for name, value in record.headers if value is not None}
        if headers["ce_specversion"] != "1.0" or headers["content-type"] != CONTENT_TYPE:
            raise Undecodable(f"not CloudEvents 1.0 with {CONTENT_TYPE}")
        if record.value is None:
            raise Undecodable("no payload")
        if any("\x00" in value for value in headers.values()) or (record.key is not None and b"\x00" in record.key):
            raise Undecodable("a NUL in a header or the key")
        time = datetime.fromisoformat(headers["ce_time"])
        if time.tzinfo is None:
            raise Undecodable("ce_time has no offset from UTC")
        if not headers["ce_id"]:
            raise Undecodable("ce_id is empty")
        return Message(
            id=headers["ce_id"],
            type=headers["ce_type"],
            source=headers["ce_source"],
            time=time,
            key=None if record.key is None else record.key.decode(),
            payload=record.value,
            headers={name: value for name, value in headers.items() if name not in _CORE},
        )
    except KeyError as missing:
        raise Undecodable(f"header {missing} is missing") from missing
    except ValueError as fault:
        raise Undecodable(str(fault)) from fault
