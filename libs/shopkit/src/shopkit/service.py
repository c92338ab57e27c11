"""Puts a shop service together: the same parts for all six, joined once.

Each service's `bootstrap.py` hands in what is its own (`Parts`) and gets the `Service` that `millrace.run` runs.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import REGISTRY

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handler, Handlers, StreamType
from millrace.edge.server import EdgeServer, RpcService
from millrace.edge.standard import standard_middleware
from millrace.edge.tracing import correlation_id, trace_headers
from millrace.kafka.config import KafkaConfig
from millrace.message import CORRELATION_ID, new_id
from millrace.observability.health import Health
from millrace.observability.logs import configure_logging
from millrace.observability.metrics import MetricsServer
from millrace.observability.traces import configure_tracing
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.consumer import PACE_SECONDS, ConsumerConfig
from millrace.pipeline.engine import Engine, EngineConfig
from millrace.pipeline.hearing import Hearing
from millrace.pipeline.inputs import Input
from millrace.pipeline.queries import Queries
from millrace.pipeline.reactors import Reactor
from millrace.pipeline.staging import Projection
from millrace.run import Service
from millrace.settings import EdgeSettings, Environment, KafkaSettings, StoreSettings, TelemetrySettings
from millrace.store.open import open_store
from shopkit import __version__
from shopkit.topics import group_of


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """What every service is told by its environment."""

    store: StoreSettings
    kafka: KafkaConfig
    edge: EdgeSettings
    telemetry: TelemetrySettings

    @classmethod
    def read(cls, environment: Environment, *, service: str, grpc_port: int, metrics_port: int) -> "CommonSettings":
        """Read the settings that all services share, with this service's default ports."""
        return cls(
            StoreSettings.read(environment),
            KafkaSettings.read(environment),
            EdgeSettings.read(environment, address=f"127.0.0.1:{grpc_port}"),
            TelemetrySettings.read(environment, metrics_address=f"127.0.0.1:{metrics_port}", instance=f"{service}-0"),
        )


class Deciding(Protocol):
    """What decides one command at a time: `CommandThread`."""

    async def decide(self, source: Input) -> object:
        """Return the reply of a command once it is committed."""


class Commands:
    """Decides a service's own commands: what its edge calls to change anything."""

    def __init__(self, thread: Deciding) -> None:
        self._thread = thread

    async def decide(self, key: str, body: object) -> Any:
        """Return the reply of a command once it is committed. Raises what refused it, or Unavailable when the database is away."""
        command_id = new_id()
        headers = {CORRELATION_ID: correlation_id() or command_id, **trace_headers()}
        return await self._thread.decide(Input(command_id, key, body, headers))


@dataclass(frozen=True, slots=True)
class Parts:
    """What is a service's own.

    `rpc` makes the servicers from the two things an edge may use; `pace_seconds` is the least time between two batches, longer where nobody
    waits for what a service does; `prepare` runs once before anything is consumed, to seed an empty store;
    `awaited` are conditions, by name, without which nothing is served; `hearing` is told to every instance; `at_end` runs once everything has stopped.
    """

    name: str
    stream_types: Sequence[StreamType[Any]]
    handlers: Mapping[type, Handler]
    registry: TypeRegistry
    rpc: Callable[[Commands, Queries], Sequence[RpcService]]
    projections: Sequence[Projection] = ()
    reactors: Mapping[type, Reactor] = field(default_factory=dict)
    migrations: Path | None = None
    reply_topics: Sequence[str] = ()
    pace_seconds: float = PACE_SECONDS
    prepare: Callable[[Commands, Queries], Awaitable[None]] | None = None
    awaited: Mapping[str, Callable[[Queries], Awaitable[bool]]] = field(default_factory=dict)
    hearing: Sequence[Hearing] = ()
    at_end: Sequence[Callable[[], None]] = ()


def assemble(settings: CommonSettings, parts: Parts) -> Service:
    """Return the service made of its own parts and the shared ones."""
    name = f"{parts.name}-service"
    telemetry = settings.telemetry
    configure_logging(name, __version__, telemetry.log_level)
    tracers = configure_tracing(name, __version__, endpoint=telemetry.otlp_endpoint, sample_ratio=telemetry.sample_ratio)
    health = Health()
    metrics = MetricsServer(telemetry.metrics_address, REGISTRY, health)
    store = open_store(settings.store.url.reveal(), f"{name} {telemetry.instance}")
    group = group_of(parts.name)
    engine = Engine(
        EngineConfig(group.id, f"/shop/{parts.name}"),
        Handlers(parts.stream_types, parts.handlers),
        parts.registry,
        parts.projections,
        tracers=tracers,
    )
    thread = CommandThread(engine, store, health)
    commands, queries = Commands(thread), Queries(store)
    middleware = standard_middleware(
        tracers, REGISTRY, default_deadline_seconds=settings.edge.default_deadline_seconds, log_level=settings.edge.log_level
    )
    prepare = parts.prepare
    edge = replace(settings.edge.config, needs=(*settings.edge.config.needs, *parts.awaited))
    return Service(
        name=name,
        store=store,
        kafka=settings.kafka,
        engine=engine,
        commands=thread,
        queries=queries,
        health=health,
        edge=EdgeServer(edge, health, parts.rpc(commands, queries), middleware),
        consumer=ConsumerConfig(group.topics, parts.reply_topics, pace_seconds=parts.pace_seconds),
        reactors=parts.reactors,
        migrations=() if parts.migrations is None else (parts.migrations,),
        prepare=None if prepare is None else lambda: prepare(commands, queries),
        awaited={name: partial(is_there, queries) for name, is_there in parts.awaited.items()},
        hearing=parts.hearing,
        at_end=(*parts.at_end, tracers.shutdown, metrics.close),
    )
