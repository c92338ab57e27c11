"""Opens the gRPC server of a process: middleware, health, reflection, keepalive, and an orderly end.

A service's `bootstrap.py` builds one from its servicers. Calls are answered on the event loop that `start` ran on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from millrace.edge.drain import StreamDrain
from millrace.edge.health import SERVICE as HEALTH_SERVICE
from millrace.edge.health import HealthServicer
from millrace.edge.keepalive import Keepalive
from millrace.edge.middleware import Middleware, MiddlewareChain
from millrace.observability.health import Health

Options: TypeAlias = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """How a server listens. Port 0 takes a free one.

    `max_connection_age_seconds` ends connections gently, so that clients look names up again and find new replicas; gRPC itself
    never would. `max_concurrent_calls` counts streams too; a call beyond it gets RESOURCE_EXHAUSTED. `needs` names the dependencies
    without which no call can be served. `drain_seconds` is what calls in hand get to finish.
    """

    address: str = "127.0.0.1:50051"
    max_message_bytes: int = 4 * 1024 * 1024
    max_concurrent_calls: int = 1000
    max_connection_age_seconds: float = 300.0
    max_connection_age_grace_seconds: float = 30.0
    drain_seconds: float = 10.0
    keepalive: Keepalive = field(default_factory=Keepalive)
    needs: tuple[str, ...] = ()

    def options(self) -> Options:
        """Return the settings as gRPC names them."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_connection_age_ms", int(self.max_connection_age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", int(self.max_connection_age_grace_seconds * 1000)),
            ("grpc.so_reuseport", 0),
            *self.keepalive.server_options(),
        ]


@dataclass(frozen=True, slots=True)
class RpcService:
    """A servicer by its full protobuf name, and what adds it to a server: `add_<Name>Servicer_to_server` with the servicer bound."""

    name: str
    add_to: Callable[[grpc.aio.Server], None]


class EdgeServer:
    """One gRPC server with health and reflection. Used from one event loop.

    `middleware` is the outermost first; `edge.standard.standard_middleware` gives the usual ones.
    """

    def __init__(
        self, config: EdgeConfig, health: Health, services: Sequence[RpcService], middleware: Sequence[Middleware]
    ) -> None:
        self._config = config
        self._services = tuple(services)
        names = [service.name for service in services]
        self._health = HealthServicer(health, needs=config.needs, services=names)
        self._drain = StreamDrain()
        self._chain = MiddlewareChain((*middleware, self._drain))
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, say SERVING, and return the port. Raises OSError if the address cannot be had."""
        server = grpc.aio.server(
            interceptors=[self._chain],
            options=self._config.options(),
            maximum_concurrent_rpcs=self._config.max_concurrent_calls,
        )
        for service in self._services:
            service.add_to(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*(service.name for service in self._services), HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            port = server.add_insecure_port(self._config.address)
        except RuntimeError as fault:
            raise OSError(f"cannot listen on {self._config.address}") from fault
        await server.start()
        self._server = server
        self._health.start()
        return port

    async def drain(self) -> None:
        """Say NOT_SERVING, end open streams, take no new call, and return once calls in hand are done or `drain_seconds` passed."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self._health.drain()
        self._drain.begin()
        await server.stop(self._config.drain_seconds)
