"""The middleware every Millrace server has, in the order that makes them true.

Tracing is outermost so that log lines carry its ids; what measures sits outside `ErrorsToStatus`, which sets the code they read.
"""

import logging

from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from millrace.edge.deadlines import IncomingDeadline
from millrace.edge.errors import ErrorsToStatus
from millrace.edge.logging import CallLog
from millrace.edge.metrics import RpcMetrics
from millrace.edge.middleware import Middleware
from millrace.edge.tracing import ServerTracing


def standard_middleware(
    tracers: TracerProvider, registry: CollectorRegistry, *, default_deadline_seconds: float = 30.0, log_level: int = logging.INFO
) -> tuple[Middleware, ...]:
    """Return tracing, metrics, call log, errors and deadlines, outermost first. One set per server and registry."""
    return (
        ServerTracing(tracers),
        RpcMetrics(registry),
        CallLog(log_level),
        ErrorsToStatus(),
        IncomingDeadline(default_deadline_seconds),
    )
