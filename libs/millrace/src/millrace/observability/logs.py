"""Logs as ECS JSON on standard output, one object a line, with the ids of the trace and of what is in hand.

Called once by each program's start. Source: Elastic Common Schema 8, ecs-logging.
"""

import logging
import sys
from typing import Any

import ecs_logging
from opentelemetry import trace

from millrace.observability.in_hand import in_hand

ECS_NAMES = {
    "trace_id": "trace.id",
    "span_id": "span.id",
    "topic": "kafka.topic",
    "partition": "kafka.partition",
    "offset": "kafka.offset",
    "group": "kafka.consumer.group",
    "reason": "event.reason",
    "rpc_method": "rpc.method",
    "rpc_code": "rpc.code",
}
"""How the fields of `extra` are called in ECS; others go under `labels.`, so that none can collide with a field of the schema: no object
may stand where `message` is a text.
"""


class EcsFormatter(ecs_logging.StdlibFormatter):
    """Formats a record as ECS JSON: service, trace, what is in hand, and the fields of `extra`, which go first, by their ECS names."""

    def __init__(self, service: str, version: str) -> None:
        super().__init__(exclude_fields=("log.original", "process"), extra={"service.name": service, "service.version": version})

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the object of one line."""
        renamed = logging.makeLogRecord({})
        known = renamed.__dict__.keys() | {"message", "asctime", "taskName"}
        renamed.__dict__.update({name: value for name, value in record.__dict__.items() if name in known})
        subject = in_hand.get()
        fields = {} if subject is None else dict(subject.log_fields())
        fields.update((name, value) for name, value in record.__dict__.items() if name not in known)
        renamed.__dict__.update((ECS_NAMES.get(name, f"labels.{name}"), value) for name, value in fields.items())
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            renamed.__dict__["trace.id"] = trace.format_trace_id(span.trace_id)
            renamed.__dict__["span.id"] = trace.format_span_id(span.span_id)
        return super().format_to_ecs(renamed)


def configure_logging(service: str, version: str, level: str = "INFO") -> None:
    """Send the root logger to standard output as ECS JSON, in place of whatever handled it. Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(EcsFormatter(service, version))
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.handlers[:] = [handler]
