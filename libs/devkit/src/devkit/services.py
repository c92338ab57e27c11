"""The six services of the shop as processes: their names, default ports and environment. Used by `devkit.stack`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from devkit.kafka_access import kafka_environment
from millrace.kafka import KafkaConfig

SERVICES = ("order", "payment", "inventory", "shipping", "notification", "analytics")
GRPC_PORTS: Mapping[str, int] = {name: 50051 + index for index, name in enumerate(SERVICES)}
METRICS_PORTS: Mapping[str, int] = {name: 9051 + index for index, name in enumerate(SERVICES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One process of a service: where it listens, where it stores, and what is special in its environment."""

    service: str
    number: int
    grpc_port: int
    metrics_port: int
    store_url: str
    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return a name that is unique in its stack, such as `order-1`."""
        return f"{self.service}-{self.number}"

    @property
    def address(self) -> str:
        """Return its gRPC address for clients, `host:port`."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Return where its metrics are read over HTTP."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def log_path(self) -> Path:
        """Return the file its output goes to."""
        return self.folder / f"{self.name}.log"

    def environment(self, kafka: KafkaConfig) -> dict[str, str]:
        """Return the whole environment to start it with: this process's own, the way to Kafka, its addresses, then what is special."""
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **kafka_environment(kafka),
            "MILLRACE_STORE_URL": self.store_url,
            "MILLRACE_GRPC_ADDRESS": self.address,
            "MILLRACE_METRICS_ADDRESS": f"127.0.0.1:{self.metrics_port}",
            "MILLRACE_INSTANCE": self.name,
            **self.extra,
        }


def is_serving(address: str, *, timeout_seconds: float = 1) -> bool:
    """Tell whether the service at this address calls itself healthy (gRPC health, the whole server)."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        try:
            answer = check(HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
        return answer.status == HealthCheckResponse.SERVING
