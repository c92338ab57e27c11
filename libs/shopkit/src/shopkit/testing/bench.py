"""One service on a bench: its real handlers, projections, migrations and edge over a store, without Kafka and without a process.

For the tests of services. What it would publish is read from the outbox; messages come in as records, as a broker would deliver them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import msgspec
from google.protobuf.message import Message as Protobuf
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from millrace.decision import Handlers
from millrace.edge.client import ChannelConfig, open_channel
from millrace.edge.server import EdgeConfig, EdgeServer
from millrace.edge.standard import standard_middleware
from millrace.message import Record, new_id
from millrace.observability.health import Health
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.engine import Batch, Engine, EngineConfig
from millrace.pipeline.inputs import Input, Result
from millrace.pipeline.queries import Queries
from millrace.pipeline.reactors import Reactors
from millrace.store.open import open_store
from millrace.store.sql import Row, Sql
from millrace.testing.builders import record
from millrace.testing.clock import SkippingClock
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

T = TypeVar("T")
P = TypeVar("P", bound=Protobuf)
_HEADERS = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in the outbox: its topic, and its headers as text."""

    topic: str
    payload: bytes
    headers: dict[str, str]

    def body(self, kind: type[P]) -> P:
        """Return the message as this type. Fails if it is of another."""
        assert self.headers["ce_type"] == kind.DESCRIPTOR.full_name, self.headers["ce_type"]
        return kind.FromString(self.payload)


class Bench:
    """A service on a fresh store. `clock` stands still until it is told to skip."""

    def __init__(self, parts: Parts, store_url: str = "memory://") -> None:
        self.clock = SkippingClock()
        self.store = open_store(store_url)
        self.store.migrate(*(() if parts.migrations is None else (parts.migrations,)))
        self._session = self.store.session()
        self._offset = 0
        self.use(parts)

    def use(self, parts: Parts) -> None:
        """Go on over the same store as a service of these parts: with other settings, say, after a restart."""
        self.parts = parts
        self._engine = Engine(
            EngineConfig(group_of(parts.name).id, f"/shop/{parts.name}"),
            Handlers(parts.stream_types, parts.handlers),
            parts.registry,
            parts.projections,
            self.clock,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.close()
        self.store.close()

    def record(self, body: Protobuf, message_id: str = "") -> Record:
        """Return a message as a broker delivers it."""
        self._offset += 1
        return record(body, offset=self._offset, message_id=message_id, time=self.clock())

    def hear(self, *bodies: Protobuf, message_id: str = "") -> list[Result | None]:
        """Decide messages in one batch; return their results in order, None for one that waits behind a failed one of its key."""
        return self.deliver(*(self.record(body, message_id) for body in bodies))

    def deliver(self, *records: Record) -> list[Result | None]:
        """Decide records in one batch; return their results in order, None for one that waits behind a failed one of its key."""
        inputs = [self._engine.decoder.decode(record) for record in records]
        results = self._engine.process(self._session, Batch(inputs))
        for hearing in self.parts.hearing:
            for source in inputs:
                hearing.hear(source.body)
        return [results.get(source.id) for source in inputs]

    def order(self, key: str, command: object) -> Any:
        """Decide a command of the edge; return its reply, or raise what refused it."""
        source = Input(new_id(), key, command, {})
        result = self._engine.process(self._session, Batch([source]))[source.id]
        if result.error is not None:
            raise result.error
        return result.reply

    def sent(self) -> list[Sent]:
        """Take what waits in the outbox."""
        rows = self.rows("DELETE FROM outbox RETURNING id, topic, payload, headers")
        return [_sent(topic, payload, headers) for _, topic, payload, headers in sorted(rows)]

    def rows(self, query: str) -> list[Row]:
        """Run one statement on the store."""
        return self.read(lambda sql: sql.execute(query))

    def read(self, read: Callable[[Sql], T]) -> T:
        """Return what `read` returns, in a transaction of its own."""
        with self._session.transaction() as tx:
            return read(tx.sql)

    def prepare(self) -> None:
        """Do what the service does before it consumes anything."""

        async def run() -> None:
            async with self.edge():
                return

        asyncio.run(run())

    @asynccontextmanager
    async def edge(self) -> AsyncIterator[grpc.aio.Channel]:
        """Prepare and serve the service on a free port, with its reactors at work, and give a channel to it."""
        health = Health()
        thread = CommandThread(self._engine, self.store, health)
        commands, queries = Commands(thread), Queries(self.store)
        middleware = standard_middleware(TracerProvider(), CollectorRegistry())
        server = EdgeServer(EdgeConfig(address="127.0.0.1:0"), health, self.parts.rpc(commands, queries), middleware)
        reactors = Reactors(self.parts.reactors, self._engine, thread)
        thread.start()
        reactors.start()
        try:
            if self.parts.prepare is not None:
                await self.parts.prepare(commands, queries)
            port = await server.start()
            async with open_channel(f"127.0.0.1:{port}", ChannelConfig()) as channel:
                yield channel
        finally:
            await server.drain()
            await reactors.stop()
            await asyncio.to_thread(thread.stop)
            queries.close()


def _sent(topic: str, payload: bytes, headers: bytes) -> Sent:
    return Sent(topic, payload, {name: (value or b"").decode() for name, value in _HEADERS.decode(headers)})


def type_names(sent: Sequence[Sent]) -> list[str]:
    """Return the types of messages, without their package."""
    return [message.headers["ce_type"].rpartition(".")[2] for message in sent]
