"""Measures how long incoming calls take, by method and status code."""

import time
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Histogram

from millrace.edge.middleware import Proceed, ServerCall

_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RpcMetrics:
    """The histogram `millrace_rpc_duration_seconds{method, code}`: from a call's start to its last answer.

    Only methods that the server has reach this, so a caller cannot make up labels.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "millrace_rpc_duration_seconds",
            "Duration of incoming gRPC calls, to the last answer",
            ("method", "code"),
            registry=registry,
            buckets=_BUCKETS_SECONDS,
        )
        self._children: dict[tuple[str, grpc.StatusCode], Histogram] = {}

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call and observe it, whatever its end."""
        try:
            return await proceed(call)
        finally:
            key = (call.method, call.code)
            child = self._children.get(key)
            if child is None:
                child = self._children[key] = self._duration.labels(call.method[1:], call.code.name)
            child.observe(time.perf_counter() - call.started)
