"""Continues a sampled trace through the pipeline: a span `process <topic>` for each message, linked into one trace by its headers.

What is not sampled costs nothing here: its headers are passed on as they are. Source: OpenTelemetry semantic conventions for messaging.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from millrace.message import TRACEPARENT, TRACESTATE
from millrace.pipeline.inputs import Input

_FORMAT = TraceContextTextMapPropagator()
_NO_PARENT = Context()
_SAMPLED = 1


def passed_on(source: Input) -> Mapping[str, str]:
    """Return the trace headers of an input, to go onto whatever it causes."""
    return {name: source.headers[name] for name in (TRACEPARENT, TRACESTATE) if name in source.headers}


class PipelineTracing:
    """Makes spans of decisions. Safe to use from any thread."""

    def __init__(self, provider: trace.TracerProvider, group: str) -> None:
        self._tracer = provider.get_tracer("millrace.pipeline")
        self._group = group

    @contextmanager
    def deciding(self, source: Input) -> Iterator[Mapping[str, str]]:
        """Run a decision inside its span, if its trace is sampled; give the trace headers for what it causes."""
        if not _is_sampled(source.headers.get(TRACEPARENT, "")):
            yield passed_on(source)
            return
        parent = _FORMAT.extract(source.headers, _NO_PARENT)
        name = f"process {source.record.topic}" if source.record else f"decide {type(source.body).__name__}"
        kind = trace.SpanKind.CONSUMER if source.record else trace.SpanKind.INTERNAL
        with self._tracer.start_as_current_span(name, parent, kind, self._attributes(source)) as span:
            headers: dict[str, str] = {}
            _FORMAT.inject(headers, trace.set_span_in_context(span, _NO_PARENT))
            yield headers

    def _attributes(self, source: Input) -> dict[str, str | int]:
        attributes: dict[str, str | int] = {"messaging.consumer.group.name": self._group, "messaging.message.id": source.id}
        if source.record is not None:
            attributes |= {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": source.record.topic,
                "messaging.destination.partition.id": str(source.record.partition),
                "messaging.kafka.offset": source.record.offset,
                "messaging.kafka.message.key": source.key,
            }
        return attributes


def _is_sampled(traceparent: str) -> bool:
    """Tell whether the flags of a traceparent ask for the trace to be recorded (W3C Trace Context, trace-flags)."""
    try:
        return len(traceparent) == 55 and bool(int(traceparent[53:], 16) & _SAMPLED)
    except ValueError:
        return False
