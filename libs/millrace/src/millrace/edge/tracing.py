"""Traces calls through the edge, and carries the correlation id beside the trace.

W3C trace context travels in the metadata `traceparent` and `tracestate`, the correlation id in `x-correlation-id`. The tracer
provider is given, so its sampler decides. Source: W3C Trace Context; OpenTelemetry semantic conventions for RPC.
"""

import re
from contextvars import ContextVar
from typing import Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from millrace.edge.interceptor import Done, OutgoingCall
from millrace.edge.middleware import HEALTH, Proceed, ServerCall
from millrace.message import TRACEPARENT, TRACESTATE, new_id

CORRELATION = "x-correlation-id"
_CORRELATION_SHAPE = re.compile(r"[\x21-\x7e]{1,128}\Z")
_SERVER_ERRORS = frozenset(
    (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
_FORMAT = TraceContextTextMapPropagator()
_NO_PARENT = Context()
_correlation: ContextVar[str | None] = ContextVar("millrace_correlation", default=None)


def correlation_id() -> str | None:
    """Return the correlation id of the call in hand: its caller's, or, where that sent none that is fit, one of its own. Outside: None."""
    return _correlation.get()


def trace_headers() -> dict[str, str]:
    """Return `traceparent` and `tracestate` of the span in hand, as headers of a message; empty without a span."""
    headers: dict[str, str] = {}
    _FORMAT.inject(headers)
    return headers


class ServerTracing:
    """Makes a span of each incoming call, a child of the caller's if there is one. Health checks get none."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("millrace.edge")

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call inside its span. Each call is a task of its own, so the correlation id ends with it."""
        if call.method.startswith(HEALTH):
            return await proceed(call)
        metadata = call.metadata()
        correlation = metadata.get(CORRELATION)
        given = correlation is not None and _CORRELATION_SHAPE.match(correlation)
        _correlation.set(correlation if given else new_id())
        parent = _FORMAT.extract(metadata, _NO_PARENT) if TRACEPARENT in metadata else _NO_PARENT
        span = self._tracer.start_span(call.method[1:], parent, trace.SpanKind.SERVER)
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            return await proceed(call)
        finally:
            otel_context.detach(token)
            _end(span, call.method, call.code, call.code in _SERVER_ERRORS)


class ClientTracing:
    """Makes a span of each outgoing call and sends its context, and the correlation id, along."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("millrace.edge")

    def begin(self, call: OutgoingCall) -> Done | None:
        """Start the span; it ends with the call."""
        span = self._tracer.start_span(call.method[1:], kind=trace.SpanKind.CLIENT)
        headers: dict[str, str] = {}
        _FORMAT.inject(headers, trace.set_span_in_context(span))
        call.metadata.extend((name, value) for name, value in headers.items() if name in (TRACEPARENT, TRACESTATE))
        correlation = _correlation.get()
        if correlation is not None:
            call.metadata.append((CORRELATION, correlation))
        return lambda code: _end(span, call.method, code, code is not grpc.StatusCode.OK)


def _end(span: trace.Span, method: str, code: grpc.StatusCode, failed: bool) -> None:
    if span.is_recording():
        service, _, name = method[1:].partition("/")
        span.set_attributes(
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "rpc.grpc.status_code": code.value[0]}
        )
        if failed:
            span.set_status(trace.StatusCode.ERROR, code.name)
    span.end()
