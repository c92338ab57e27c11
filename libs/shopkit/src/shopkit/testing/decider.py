"""A service's handlers and read models on a store in memory, fed one message at a time: no Kafka, no threads, no time that passes."""

from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message as Protobuf

from millrace.clock import micros
from millrace.decision import Handlers
from millrace.message import Record, new_id
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.engine import Batch, Engine, EngineConfig
from millrace.pipeline.inputs import Input, Result, fired, outcome_of
from millrace.store.open import open_store
from millrace.store.sql import Row
from millrace.testing.builders import record
from millrace.testing.clock import SkippingClock
from shopkit.service import Parts
from shopkit.topics import group_of


class Decider:
    """One service. `clock` stands still until it is told to skip; `effects` are the calls to the outside asked for so far, by id."""

    def __init__(self, parts: Parts) -> None:
        self.clock = SkippingClock()
        self.effects: dict[str, PendingEffect] = {}
        self.asked: list[str] = []
        self.store = open_store("memory://")
        self.store.migrate(*([parts.migrations] if parts.migrations else []))
        self._session = self.store.session()
        self._group = group_of(parts.name).id
        self._requests = {kind.__name__: kind for kind in parts.reactors}
        handlers = Handlers(parts.stream_types, parts.handlers)
        self._engine = Engine(EngineConfig(self._group, "/test"), handlers, parts.registry, parts.projections, self.clock)
        self._engine.listen(lambda committed: self._keep(committed.effects))
        self._offset = 0

    def record(self, body: Protobuf) -> Record:
        """Return a new message with this body as a record: handing the same record in again is a redelivery."""
        self._offset += 1
        return record(body, offset=self._offset, time=self.clock())

    def tell(self, *bodies: Protobuf | Record) -> list[Result]:
        """Decide messages in one batch; return their results in order."""
        records = [body if isinstance(body, Record) else self.record(body) for body in bodies]
        inputs = [self._engine.decoder.decode(record) for record in records]
        results = self._engine.process(self._session, Batch(inputs))
        return [results[source.id] for source in inputs]

    def order(self, key: str, command: object) -> Any:
        """Decide a command of the edge; return its reply, or raise what refused it."""
        source = Input(new_id(), key, command, {})
        result = self._engine.process(self._session, Batch([source]))[source.id]
        if result.error is not None:
            raise result.error
        return result.reply

    def request(self, effect_id: str) -> Any:
        """Return what a call to the outside asks for, read back from its row."""
        effect = self.effects[effect_id]
        return msgspec.json.decode(effect.request, type=self._requests[effect.kind])

    def answer(self, effect_id: str, outcome: object) -> None:
        """Decide the outcome of a call to the outside."""
        effect = self.effects[effect_id]
        source = outcome_of(effect, outcome)
        result = self._engine.process(self._session, Batch([source]))[source.id]
        if result.error is not None:
            raise result.error

    def fire(self) -> int:
        """Decide every timer that is due by the clock; return how many there were."""
        with self._session.transaction() as tx:
            due = tx.timers.due(self._group, micros(self.clock()), 100)
        self._engine.process(self._session, Batch([fired(timer) for timer in due]))
        return len(due)

    def told(self) -> list[Any]:
        """Return the bodies published since the last call, in order, and those of dead letters as their topic's name."""
        with self._session.transaction() as tx:
            rows = tx.outbox.head(10_000)
            tx.outbox.delivered(rows, micros(self.clock()))
        return [row.topic if row.topic.endswith(".dlt") else _body(row.payload or b"", row.headers) for row in rows]

    def rows(self, query: str) -> list[Row]:
        """Run a query on the store."""
        with self._session.transaction() as tx:
            return tx.sql.execute(query)

    def _keep(self, effects: Sequence[PendingEffect]) -> None:
        self.asked += [effect.id for effect in effects]
        self.effects.update((effect.id, effect) for effect in effects)


def _body(payload: bytes, headers: bytes) -> Protobuf:
    found = {str(name): bytes(value) for name, value in msgspec.msgpack.decode(headers)}
    descriptor = descriptor_pool.Default().FindMessageTypeByName(found["ce_type"].decode())
    return message_factory.GetMessageClass(descriptor).FromString(payload)
