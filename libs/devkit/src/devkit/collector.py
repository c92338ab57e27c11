"""An OTLP/gRPC collector inside this process: takes the spans that programs export, and keeps them to be looked at.

For tests. It stands where a real collector would, at the address that OTEL_EXPORTER_OTLP_ENDPOINT names.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it arrived. Ids are lower-case hex, `parent_id` is empty for a root; `kind` is OTLP's, such as SPAN_KIND_SERVER."""

    service: str
    version: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, str]


class TraceCollector(TraceServiceServicer):
    """A collector that listens on 127.0.0.1 from its making until it is closed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._spans: list[SeenSpan] = []
        self._server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="collector"))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def endpoint(self) -> str:
        """Return the address for exporters, `http://host:port`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def spans(self) -> tuple[SeenSpan, ...]:
        """Return every span that has arrived, in the order of arrival."""
        with self._lock:
            return tuple(self._spans)

    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:  # noqa: N802
        """Keep what is sent."""
        with self._lock:
            self._spans += [span for of_resource in request.resource_spans for span in _seen(of_resource)]
        return ExportTraceServiceResponse()

    def close(self) -> None:
        """Stop listening, and return once nothing is under way."""
        self._server.stop(None).wait()


def _seen(of_resource: ResourceSpans) -> Iterator[SeenSpan]:
    resource = _texts(of_resource.resource.attributes)
    for scope in of_resource.scope_spans:
        for span in scope.spans:
            yield SeenSpan(
                resource.get("service.name", ""),
                resource.get("service.version", ""),
                span.name,
                Span.SpanKind.Name(span.kind),
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                _texts(span.attributes),
            )


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes if each.value.HasField("string_value")}
