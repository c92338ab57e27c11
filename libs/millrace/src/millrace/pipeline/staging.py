"""Collects what the decisions of a batch ask for, so that each table is written once.

A decision is staged as a whole or not at all: what fails while it is turned into rows fails its own message only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from millrace.clock import duration_micros, micros
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Decision, Publish, StartTimer
from millrace.envelope import encode_headers
from millrace.errors import ProjectionFailed, StreamUnreadable
from millrace.eventstore.events import NO_STREAM, Append, NewEvent, StoredStream
from millrace.message import CAUSATION_ID, CORRELATION_ID, SEQUENCE, Message
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.codec import StreamCodec, to_json
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.inputs import Input
from millrace.pipeline.timers import Timer
from millrace.store.contract import Transaction
from millrace.store.faults import is_databases
from millrace.store.sql import Sql


@dataclass(frozen=True, slots=True)
class Change:
    """An event with the state of its stream behind it. What projections read.

    `message_id` is the id of the input it was decided for; empty where a read model is rebuilt, since the store does not keep it.
    """

    stream: str
    version: int
    event: Any
    state: Any
    at: datetime
    message_id: str


class Projection(Protocol):
    """Keeps read models in the transaction of the events they show. What it writes follows from the changes alone, so that it can be rebuilt.

    `tables` are those it writes; nobody else does.
    """

    @property
    def tables(self) -> Sequence[str]:
        """Return the names of the tables it keeps."""

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """Write what a batch's changes mean. Called once a batch, changes in order; a data error parks the message at fault."""


@dataclass(slots=True)
class _Stream:
    stored: StoredStream
    state: Any
    unreadable: StreamUnreadable | None = None
    events: list[NewEvent] = field(default_factory=list)


@dataclass(slots=True)
class Stage:
    """The rows of one batch, not yet written."""

    registry: TypeRegistry
    codec: StreamCodec
    source: str
    now: datetime
    max_message_bytes: int
    streams: dict[str, _Stream] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    timers: dict[str, Timer] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    effects: list[PendingEffect] = field(default_factory=list)

    def load(self, tx: Transaction, names: Sequence[str]) -> None:
        """Lock and read every stream the batch may touch. One that cannot be read fails the messages that need it, no others."""
        stored = tx.events.load(names)
        for name in names:
            row = stored.get(name, NO_STREAM)
            try:
                self.streams[name] = _Stream(row, self.codec.state(name, row, tx.events))
            except Exception as error:
                if is_databases(error):
                    raise
                reason = f"stream {name} cannot be read: {type(error).__name__}: {error}"
                self.streams[name] = _Stream(row, None, unreadable=StreamUnreadable(reason))

    def states(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the states of streams as the batch's earlier decisions left them. Raises StreamUnreadable."""
        for name in names:
            if (fault := self.streams[name].unreadable) is not None:
                raise fault
        return {name: self.streams[name].state for name in names}

    def add(self, source: Input, decision: Decision, trace_headers: Mapping[str, str]) -> None:
        """Stage one decision: all of it, or, if this raises, nothing. `trace_headers` go onto all that it leads to."""
        states: dict[str, Any] = {}
        changes: list[Change] = []
        encoded: list[tuple[str, NewEvent]] = []
        versions: dict[str, int] = {}
        for name, event in decision.events:
            stream = self.streams[name]
            stream_type = self.codec.type_of(name)
            state = stream_type.evolve(states.get(name, stream.state), event)
            version = versions.get(name, stream.stored.version + len(stream.events)) + 1
            states[name], versions[name] = state, version
            encoded.append((name, NewEvent(type(event).__name__, to_json(event), stream_type.revision(type(event)))))
            changes.append(Change(name, version, event, state, self.now, source.id))
        headers = _caused_by(source, trace_headers)
        rows = [self._message(publish, headers) for publish in decision.publish]
        carried = to_json(headers)
        timers = [_timer(source.key, publish.deadline, None, row.message_id, carried)
                  for publish, row in zip(decision.publish, rows, strict=True) if publish.deadline is not None]  # fmt: skip
        now = micros(self.now)
        timers += [_timer(source.key, timer, now, None, carried) for timer in decision.timers]
        effects = [
            PendingEffect(e.id, source.key, type(e.request).__name__, to_json(e.request), carried) for e in decision.effects
        ]
        for name, state in states.items():
            self.streams[name].state = state
        for name, new in encoded:
            self.streams[name].events.append(new)
        self.changes += changes
        self.outbox += rows
        for timer_id in decision.cancel_timers:
            self.timers.pop(timer_id, None)
            self.cancelled.append(timer_id)
        self.timers.update((timer.id, timer) for timer in timers)
        self.effects += effects

    def write(self, tx: Transaction, group: str, projections: Sequence[Projection], leased_until: int) -> None:
        """Write everything staged, each table once. Raises VersionConflict where another writer created a stream first."""
        appends = [
            Append(name, s.stored.version, s.events, to_json(s.state), self.codec.type_of(name).snapshot_version)
            for name, s in self.streams.items()
            if s.events
        ]
        tx.events.append(appends, micros(self.now))
        if self.changes:
            for projection in projections:
                self._show(projection, tx.sql)
        tx.outbox.add(self.outbox, micros(self.now))
        tx.timers.cancel(self.cancelled)
        tx.timers.start(group, list(self.timers.values()))
        tx.effects.add(group, self.effects, leased_until)

    def _show(self, projection: Projection, sql: Sql) -> None:
        try:
            projection.apply(sql, self.changes)
        except Exception as error:
            if is_databases(error):
                raise  # a missing table, for instance, is no message's fault
            raise ProjectionFailed(f"{type(projection).__name__}: {type(error).__name__}: {error}") from error

    def _message(self, publish: Publish, headers: Mapping[str, str]) -> OutboxRow:
        if publish.sequence is not None:
            headers = {**headers, SEQUENCE: str(publish.sequence)}
        body = publish.body
        message = Message(
            type=body.DESCRIPTOR.full_name, payload=body.SerializeToString(deterministic=True), key=self.registry.key(body),
            source=self.source, time=self.now, headers=headers,
        )  # fmt: skip
        if len(message.payload) > self.max_message_bytes:
            raise ValueError(f"{message.type} has {len(message.payload)} bytes, more than the {self.max_message_bytes} allowed")
        return outbox_row(self.registry.topic(type(body)), message)


def outbox_row(topic: str, message: Message) -> OutboxRow:
    """Return a message as a row of the outbox."""
    key = None if message.key is None else message.key.encode()
    return OutboxRow(topic, key, message.payload, msgspec.msgpack.encode(encode_headers(message)), message.id)


def _caused_by(source: Input, trace_headers: Mapping[str, str]) -> dict[str, str]:
    headers = dict(trace_headers)
    headers[CORRELATION_ID] = source.headers.get(CORRELATION_ID, source.id)
    headers[CAUSATION_ID] = source.id
    return headers


def _timer(key: str, start: StartTimer, now: int | None, awaits: str | None, headers: str) -> Timer:
    delay = duration_micros(start.delay)
    return Timer(start.id, key, start.kind, start.attempt, delay, None if now is None else now + delay, awaits, headers)
