"""The tracer provider of a process: what is sampled, and where spans go.

Called once by each program's start, which hands the provider to edge and middleware and shuts it down at the end.
"""

import logging
from threading import Timer

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

log = logging.getLogger(__name__)

DEFAULT_RATIO = 0.01
FLUSH_SECONDS = 5.0
"""How long the end of a process waits for a collector."""


def configure_tracing(service: str, version: str, *, endpoint: str = "", sample_ratio: float = DEFAULT_RATIO) -> TracerProvider:
    """Return the process's tracer provider and make it OpenTelemetry's global one; `shutdown()` on it flushes, for FLUSH_SECONDS at most.

    `endpoint` says where spans go over OTLP/gRPC; without it they go nowhere, and the exporter's modules are not even loaded (12 MB).
    `sample_ratio` is the part of new traces that is sampled; a caller's decision is kept. Raises ValueError for one outside 0 to 1.
    """
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource.create({"service.name": service, "service.version": version}),
    )
    if endpoint:
        provider.add_span_processor(_BoundedFlush(_exporter(endpoint)))
    trace.set_tracer_provider(provider)
    return provider


class _BoundedFlush(BatchSpanProcessor):
    """Sends spans in batches, from a thread of its own. The SDK's own shutdown waits for up to 30 s, batch by batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(exporter)
        self._stop_exporting = exporter.shutdown

    def shutdown(self) -> None:
        """Send what is left, and return once that is done, or after FLUSH_SECONDS: what is left then is dropped."""
        giving_up = Timer(FLUSH_SECONDS, self._give_up)
        giving_up.start()
        super().shutdown()  # type: ignore[no-untyped-call]
        giving_up.cancel()

    def _give_up(self) -> None:
        log.warning("spans dropped, the collector does not answer", extra={"waited_seconds": FLUSH_SECONDS})
        self._stop_exporting()


def _exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - loaded only where it is used

    return OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
