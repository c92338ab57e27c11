"""Continues the trace of a message through its handler into the outputs.

Sources: W3C Trace Context (`traceparent`); OpenTelemetry semantic conventions for messaging, processing span.
"""

from collections.abc import Sequence

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from millrace.handling import HandlerFunc, current_delivery
from millrace.message import TRACEPARENT, TRACESTATE, Message
from millrace.middleware.outputs import with_headers
from millrace.pubsub import Outgoing

_FORMAT = TraceContextTextMapPropagator()
_NO_PARENT = Context()


class Tracing:
    """Makes a span `process <topic>` of each message whose trace is sampled, and of those that carry none as the sampler decides.

    A message whose trace is not sampled costs no span: its headers are passed on as they are. 99 in 100 messages go that way.
    """

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("millrace.router")

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler."""

        def handle(message: Message) -> Sequence[Outgoing]:
            parent = message.headers.get(TRACEPARENT)
            if parent is not None and _unsampled(parent):
                outputs = handler(message)
                return with_headers(outputs, _context_of(message, parent)) if outputs else outputs
            return self._traced(handler, message)

        return handle

    def _traced(self, handler: HandlerFunc, message: Message) -> Sequence[Outgoing]:
        parent = _FORMAT.extract(message.headers, _NO_PARENT)
        delivery = current_delivery.get(None)
        topic = delivery.record.topic if delivery else "message"
        with self._tracer.start_as_current_span(f"process {topic}", parent, trace.SpanKind.CONSUMER) as span:
            if span.is_recording():
                span.set_attributes(_attributes(message))
            headers: dict[str, str] = {}
            _FORMAT.inject(headers, trace.set_span_in_context(span, otel_context.get_current()))
            outputs = handler(message)
        return with_headers(outputs, headers) if outputs and headers else outputs


def _unsampled(traceparent: str) -> bool:
    """Tell whether a well-formed traceparent says that nobody records the trace."""
    return len(traceparent) == 55 and traceparent.startswith("00-") and traceparent[53:] in ("00", "02")


def _context_of(message: Message, traceparent: str) -> dict[str, str]:
    state = message.headers.get(TRACESTATE)
    return {TRACEPARENT: traceparent} if state is None else {TRACEPARENT: traceparent, TRACESTATE: state}


def _attributes(message: Message) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.message.id": message.id,
        "messaging.message.body.size": len(message.payload),
        "cloudevents.event_type": message.type,
    }
    delivery = current_delivery.get(None)
    if delivery is not None:
        attributes["messaging.system"] = "kafka"
        attributes["messaging.destination.name"] = delivery.record.topic
        attributes["messaging.destination.partition.id"] = str(delivery.record.partition)
        attributes["messaging.kafka.offset"] = delivery.record.offset
    if message.key is not None:
        attributes["messaging.kafka.message.key"] = message.key
    return attributes
