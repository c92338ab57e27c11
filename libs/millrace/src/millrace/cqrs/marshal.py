"""Turns a protobuf body into a message on its way to the topic its type declares. Used by buses, processors and the pipeline."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from millrace.message import CAUSATION_ID, CORRELATION_ID, SEQUENCE, Message, new_id, utc_now
from millrace.pubsub import Outgoing

_NONE: Mapping[str, str] = MappingProxyType({})


def caused_by(cause: Message) -> dict[str, str]:
    """Return the headers of whatever follows from a message: its correlation id, or its own id where it began the chain."""
    return {CORRELATION_ID: cause.headers.get(CORRELATION_ID, cause.id), CAUSATION_ID: cause.id}


def marshal(
    body: Protobuf,
    *,
    source: str,
    headers: Mapping[str, str] = _NONE,
    sequence: int | None = None,
    time: datetime | None = None,
    message_id: str | None = None,
) -> Outgoing:
    """Return the message that carries `body`, and its topic. The same arguments, `time` and `message_id` given, give the same bytes.

    `headers` are written in their order, `sequence` behind them. Without `time` and `message_id`: now, and a new UUID.
    Raises UnknownType if the type declares no topic, Invalid if its key field is empty.
    """
    route = route_of(type(body))
    message = Message(
        type=route.type,
        payload=body.SerializeToString(deterministic=True),
        key=route.key(body),
        source=source,
        id=message_id or new_id(),
        time=time or utc_now(),
        headers=headers if sequence is None else {**headers, SEQUENCE: str(sequence)},
    )
    return Outgoing(route.topic, message)
