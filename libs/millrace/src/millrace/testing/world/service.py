"""One service in a world: what `millrace.run` starts, with a turn for each part in place of its threads.

A crash throws away all but the store, as the end of a process does; a new life begins from what was committed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tenacity import wait_exponential

from millrace.clock import Clock, from_micros, micros
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers, StreamType
from millrace.errors import Unavailable
from millrace.eventstore.events import NO_STREAM
from millrace.kafka.config import KafkaConfig
from millrace.memory.broker import MemoryBroker
from millrace.message import new_id
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.dispatch import Dispatch
from millrace.pipeline.codec import StreamCodec
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.engine import Engine, EngineConfig
from millrace.pipeline.inputs import Input
from millrace.pipeline.queries import Queries
from millrace.pipeline.reactors import Reactor, Reactors
from millrace.pipeline.staging import Projection
from millrace.store.contract import Session, Sessions
from millrace.store.sql import Sql
from millrace.store.sqlite import SqliteStore
from millrace.testing.world.faults import Crash, Faults, FaultySession
from millrace.testing.world.loop import SkippingLoop
from millrace.testing.world.producing import WorldProducer
from millrace.testing.world.reading import WorldReader

S = TypeVar("S")
T = TypeVar("T")
_SWEEP = timedelta(seconds=1)
_NOWHERE = KafkaConfig("127.0.0.1:1")
_NEXT_DUE = """SELECT min(due_at) FROM (SELECT due_at FROM timer WHERE due_at > :now UNION ALL
    SELECT due_at FROM parked WHERE state = 'retry' AND due_at > :now)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service as its bootstrap puts it together: `name` is its consumer group, `topics` what it reads.

    `reply_topics` are those whose messages can make a timer superfluous; `migrations` the folders of its own tables.
    """

    name: str
    topics: Sequence[str]
    handlers: Handlers
    registry: TypeRegistry
    projections: Sequence[Projection] = ()
    reactors: Mapping[type, Reactor] = field(default_factory=dict)
    reply_topics: Sequence[str] = ()
    migrations: Sequence[Path] = ()
    source: str = "/world"


class _ProcessSessions:
    """The sessions of a service's process, which may crash in them; its store outlives it."""

    def __init__(self, store: Sessions, service: str, faults: Faults) -> None:
        self._store = store
        self._service = service
        self._faults = faults

    def session(self) -> Session:
        return FaultySession(self._store.session(), self._service, self._faults)


class _Life:
    """What a process has in memory from its start to its end."""

    def __init__(
        self, spec: ServiceSpec, store: Sessions, broker: MemoryBroker, clock: Clock, loop: SkippingLoop, faults: Faults
    ) -> None:
        engine = Engine(EngineConfig(spec.name, spec.source), spec.handlers, spec.registry, spec.projections, clock)
        health = Health()
        self._loop = loop
        self._session = store.session()
        self._clock = clock
        self._next_sweep = clock()
        self.commands = CommandThread(engine, store, health)
        self.producer = WorldProducer(broker, spec.name, clock, faults)
        self._dispatch = Dispatch(
            RelayConfig(round_seconds=0.0), _NOWHERE, health, engine.metrics, clock, lambda *_: self.producer
        )
        self._reactors = Reactors(spec.reactors, engine, self.commands, pauses=wait_exponential(0.2, 15))
        self.reader = WorldReader(broker, spec.topics, spec.reply_topics, engine, store.session(), faults)
        loop.call_soon(self._reactors.start)
        loop.run_due()

    def parts(self) -> Sequence[Callable[[], bool]]:
        """Return what takes turns."""
        return (self.commands.turn, self.reader.turn, self._relay, self._sweep)

    def end(self) -> None:
        """End without a word."""
        self._loop.create_task(self._reactors.stop())
        self._loop.run_due()
        self.producer.crash()
        self.reader.leave()

    def _relay(self) -> bool:
        before = self.producer.moved
        self._dispatch.round(self._session)
        return self.producer.moved != before

    def _sweep(self) -> bool:
        if self._clock() >= self._next_sweep:
            self._next_sweep = self._clock() + _SWEEP
            self.commands.sweep()
        return False


class WorldService:
    """A service in a world. `crashes` counts how often its process ended; `queries` reads its store, as its edge does."""

    def __init__(self, spec: ServiceSpec, broker: MemoryBroker, clock: Clock, loop: SkippingLoop, faults: Faults) -> None:
        self.spec = spec
        self.store = SqliteStore(None)
        self.store.migrate(*spec.migrations)
        self.session = self.store.session()
        sessions = _ProcessSessions(self.store, spec.name, faults)
        self.queries = Queries(self.store)
        self.crashes = 0
        self._clock = clock
        self._loop = loop
        self._faults = faults
        self._begin: Callable[[], _Life] = lambda: _Life(spec, sessions, broker, clock, loop, faults)
        self._life: _Life | None = self._begin()
        self._back_at = clock()

    async def decide(self, source: Input) -> object:
        """Return the reply of a command of the edge. Raises what refused it; Unavailable while the process is away."""
        if self._life is None:
            raise Unavailable(f"{self.spec.name} is away")
        return await self._life.commands.decide(source)

    def order(self, key: str, command: object) -> Any:
        """Decide a command now; return its reply, or raise what refused it."""
        return self.wait_for(self.decide(Input(new_id(), key, command, {})))

    def wait_for(self, what: Awaitable[T]) -> T:
        """Return what a coroutine of the edge returns; commands are decided meanwhile, and no time passes."""

        async def run() -> T:
            return await what

        task = self._loop.create_task(run())
        try:
            while self._loop.run_due() or (self._life is not None and self._life.commands.turn()):
                pass
        except Crash as crash:
            self.crash()
            task.cancel()
            raise Unavailable(f"{self.spec.name} is away") from crash
        return task.result()

    def turn(self) -> bool:
        """Give each part its turn; return whether one of them had anything to do."""
        if self._life is None:
            if self._clock() < self._back_at:
                return False
            self._life = self._begin()
        some = False
        try:
            for part in self._faults.ordered(self._life.parts()):
                if not self._faults.idles(self.spec.name):
                    some = part() or some
        except Crash:
            self.crash()
            return True
        return some

    def crash(self) -> None:
        """End the process as SIGKILL would; it starts again when `Faults.stays_down` says."""
        life, self._life = self._life, None
        if life is not None:
            self.crashes += 1
            self._back_at = self._clock() + self._faults.stays_down(self.spec.name)
            life.end()

    def state(self, kind: StreamType[S], entity_id: str) -> S:
        """Return the state of one stream, as it is committed."""
        name = kind.stream(entity_id)
        with self.session.transaction() as tx:
            stored = tx.events.load([name]).get(name, NO_STREAM)
            state: S = StreamCodec([kind]).state(name, stored, tx.events)
            return state

    def is_caught_up(self) -> bool:
        """Say whether its process is up, and has handled all that its topics hold."""
        return self._life is not None and self._life.reader.is_caught_up()

    def next_due(self) -> datetime | None:
        """Return when time alone brings something about: a timer, a retry, a message's arrival, the start of a process that crashed."""
        if self._life is None:
            return self._back_at
        arrival = self._life.producer.next_due()
        due = self.read(lambda sql: sql.execute(_NEXT_DUE, {"now": micros(self._clock())})[0][0])
        times = [*([] if due is None else [from_micros(due)]), *([] if arrival is None else [arrival])]
        return min(times, default=None)

    def read(self, read: Callable[[Sql], T]) -> T:
        """Return what `read` returns, in a transaction of its own."""
        with self.session.transaction() as tx:
            return read(tx.sql)

    def close(self) -> None:
        """Give up the store."""
        self.queries.close()
        self.store.close()
