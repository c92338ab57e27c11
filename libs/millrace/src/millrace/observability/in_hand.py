"""What a thread or a task has in hand: each line logged meanwhile says which message, call or effect it belongs to.

Set by whoever handles something: the engine, the router, the reactors, the edge. Read by the formatter of lines, only when one is written,
so that handling a message costs one `set` and no more.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from millrace.message import CORRELATION_ID, TRACEPARENT, Record

_MAX_LENGTH = 512
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Subject(Protocol):
    """Something that is handled."""

    def log_fields(self) -> Mapping[str, object]:
        """Return the fields of lines about it, named as in `extra`. Must not raise."""


in_hand: ContextVar[Subject | None] = ContextVar("millrace_in_hand", default=None)
"""What is in hand. Whoever sets it in a context that lives on sets it back."""


def learned(**fields: object) -> None:
    """Add fields to the lines written from now on about the call in hand: an order's id, once it is known."""
    in_hand.set(_Learned(in_hand.get(), fields))


@dataclass(frozen=True, slots=True)
class _Learned:
    subject: Subject | None
    fields: Mapping[str, object]

    def log_fields(self) -> Mapping[str, object]:
        return {**(self.subject.log_fields() if self.subject else {}), **self.fields}


def origin_fields(headers: Mapping[str, str]) -> dict[str, object]:
    """Return the ids of trace and correlation that headers carry, as far as they do."""
    fields: dict[str, object] = {}
    if found := _TRACEPARENT.match(headers.get(TRACEPARENT, "")):
        fields["trace_id"] = found[1]
    if correlation := headers.get(CORRELATION_ID):
        fields["correlation_id"] = correlation[:_MAX_LENGTH]
    return fields


def order_fields(content: object) -> dict[str, object]:
    """Return the order that a request or a message's content names, if it names one."""
    order_id = getattr(content, "order_id", None)
    return {"order_id": order_id[:_MAX_LENGTH]} if isinstance(order_id, str) and order_id else {}


def record_fields(record: Record) -> dict[str, object]:
    """Return what a record says of itself, whether or not it is a valid message."""
    headers = {name: value.decode(errors="backslashreplace") for name, value in record.headers if value is not None}
    fields = origin_fields(headers) | {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if record.key is not None:
        fields["message_key"] = record.key[:_MAX_LENGTH].decode(errors="backslashreplace")
    for name, header in (("message_id", "ce_id"), ("message_type", "ce_type")):
        if header in headers:
            fields[name] = headers[header][:_MAX_LENGTH]
    return fields
