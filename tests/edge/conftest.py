"""A real server on a free port of 127.0.0.1, with one echo service made of generic handlers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from millrace.edge.client import ChannelConfig, open_channel
from millrace.edge.server import EdgeConfig, EdgeServer, RpcService
from millrace.edge.standard import standard_middleware
from millrace.observability.health import Health

NAME = "test.v1.Echo"


@dataclass
class Edge:
    """A running server and what it was built of."""

    server: EdgeServer
    channel: grpc.aio.Channel
    health: Health
    target: str
    registry: CollectorRegistry
    spans: InMemorySpanExporter

    async def say(self, text: str = "hi", **options: Any) -> str:
        call = self.channel.unary_unary(
            f"/{NAME}/Say", request_serializer=StringValue.SerializeToString, response_deserializer=StringValue.FromString
        )
        return str((await call(StringValue(value=text), **options)).value)

    def tell(self, text: str = "hi", **options: Any) -> Any:
        call = self.channel.unary_stream(
            f"/{NAME}/Tell", request_serializer=StringValue.SerializeToString, response_deserializer=StringValue.FromString
        )
        return call(StringValue(value=text), **options)


@dataclass
class Echo:
    """The behaviour of the service under test."""

    say: Callable[..., Any] | None = None
    tell: Callable[..., Any] | None = None
    config: EdgeConfig = field(default_factory=lambda: EdgeConfig(address="127.0.0.1:0", drain_seconds=5.0))
    channel: ChannelConfig = field(default_factory=ChannelConfig)
    default_deadline_seconds: float = 30.0


def _service(echo: Echo) -> RpcService:
    codec: dict[str, Any] = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    handlers: dict[str, Any] = {}
    if echo.say is not None:
        handlers["Say"] = grpc.unary_unary_rpc_method_handler(echo.say, **codec)
    if echo.tell is not None:
        handlers["Tell"] = grpc.unary_stream_rpc_method_handler(echo.tell, **codec)
    generic = grpc.method_handlers_generic_handler(NAME, handlers)
    return RpcService(NAME, lambda server: server.add_generic_rpc_handlers((generic,)))


@asynccontextmanager
async def _running(echo: Echo) -> AsyncIterator[Edge]:
    health, registry, spans = Health(), CollectorRegistry(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    middleware = standard_middleware(tracers, registry, default_deadline_seconds=echo.default_deadline_seconds)
    server = EdgeServer(echo.config, health, [_service(echo)], middleware)
    target = f"127.0.0.1:{await server.start()}"
    async with open_channel(target, echo.channel) as channel:
        try:
            yield Edge(server, channel, health, target, registry, spans)
        finally:
            await server.drain()


@pytest.fixture
def echo() -> type[Echo]:
    return Echo


@pytest.fixture
def running() -> Callable[[Echo], AbstractAsyncContextManager[Edge]]:
    return _running
