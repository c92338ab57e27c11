"""Decides a batch in one transaction.

The order within it: move the consumer's positions; lock the keys; drop duplicates; load the streams; decide in order; write each table
once. A failing message is taken out with its key's successors and the rest commits. Threads call `process`, each with a session of its
own; the engine keeps no state between batches.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from millrace.clock import Clock, duration_micros, micros, utc_now
from millrace.cqrs.registry import TypeRegistry
from millrace.dead_letters import FOR
from millrace.decision import Context, Decision, Handlers
from millrace.errors import PermanentError, PositionLost, UnknownType
from millrace.inbox.parked import ParkedMessage
from millrace.inbox.positions import Move
from millrace.observability.in_hand import in_hand
from millrace.pipeline.codec import StreamCodec
from millrace.pipeline.culprits import Findings, Unit, search
from millrace.pipeline.decoding import Decoder
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.failures import RetryPolicy, dead_letter, park, park_behind
from millrace.pipeline.inputs import Input, Result, unpack_record
from millrace.pipeline.metrics import PipelineMetrics
from millrace.pipeline.staging import Projection, Stage
from millrace.pipeline.tracing import PipelineTracing
from millrace.store.contract import Session, Transaction
from millrace.store.faults import Fault, classify

log = logging.getLogger(__name__)
_MAX_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How one service decides. `source` is the CloudEvents source of its messages; `effect_lease` how long a call to the outside may take
    before another process repeats it.
    """

    group: str
    source: str
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    effect_lease: timedelta = timedelta(seconds=10)
    max_message_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What to decide together: inputs in order, the positions their records move, and keys whose parked messages are due."""

    inputs: Sequence[Input] = ()
    moves: Sequence[Move] = ()
    due_keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """What a committed batch left to be done by others."""

    effects: Sequence[PendingEffect]
    published: int


class _Rehearsal(Exception):
    """Rolls back a transaction that only tried whether it would work."""


class Engine:
    """Decides batches for one service."""

    def __init__(
        self,
        config: EngineConfig,
        handlers: Handlers,
        registry: TypeRegistry,
        projections: Sequence[Projection] = (),
        clock: Clock = utc_now,
        tracers: TracerProvider | None = None,
    ) -> None:
        self._config = config
        self._handlers = handlers.by_body
        self._registry = registry
        self._codec = StreamCodec(handlers.stream_types)
        self._projections = projections
        self._clock = clock
        self._listeners: list[Callable[[Committed], None]] = []
        self.decoder = Decoder(registry)
        self.tracing = PipelineTracing(tracers or NoOpTracerProvider(), config.group)
        self.metrics = PipelineMetrics(config.group)

    @property
    def group(self) -> str:
        """The consumer group this engine decides for."""
        return self._config.group

    @property
    def clock(self) -> Clock:
        """The clock decisions are made by."""
        return self._clock

    def listen(self, listener: Callable[[Committed], None]) -> None:
        """Call `listener` after each commit that left something to publish or to call, on the thread that committed."""
        self._listeners.append(listener)

    def process(self, session: Session, batch: Batch) -> dict[str, Result]:
        """Decide and commit a batch; return the results by input id.

        Raises PositionLost if a position is not where this worker believes, and database errors that say the database is away: in both
        cases nothing happened.
        """
        findings = Findings()
        conflicts = 0
        while True:
            try:
                run = self._attempt(session, batch, findings, commit=True)
                break
            except Exception as error:
                fault = classify(error)
                if fault is Fault.AGAIN and conflicts < _MAX_CONFLICTS:
                    conflicts += 1
                elif fault is not Fault.DATA or not self._found_culprits(session, batch, findings):
                    raise
        if run.stage.outbox or run.stage.effects:
            committed = Committed(run.stage.effects, len(run.stage.outbox))
            for listener in self._listeners:
                listener(committed)
        self.metrics.batch(run.done, run.retried, run.dead, run.duplicates)
        return run.results

    def _found_culprits(self, session: Session, batch: Batch, findings: Findings) -> bool:
        """Find the inputs whose content the database refuses; return whether there is something to leave out now."""

        def fault_of(units: Sequence[Unit]) -> Exception | None:
            part = Batch(
                [unit for unit in units if isinstance(unit, Input)], due_keys=[unit for unit in units if isinstance(unit, str)]
            )
            try:
                with suppress(_Rehearsal):
                    self._attempt(session, part, findings, commit=False)
            except Exception as error:
                if classify(error) is Fault.DATA:
                    return error
                raise
            return None

        return search([*batch.due_keys, *batch.inputs], fault_of, findings)

    def _attempt(self, session: Session, batch: Batch, findings: Findings, *, commit: bool) -> "_Run":
        now = self._clock()
        with session.transaction() as tx:
            if commit and batch.moves and not tx.positions.advance(self.group, batch.moves):
                raise PositionLost(f"{self.group} no longer owns what it read")
            stage = Stage(self._registry, self._codec, self._config.source, now, self._config.max_message_bytes)
            run = _Run(self, tx, stage, findings)
            nothing = in_hand.set(None)
            try:
                run.decide(batch)
            finally:
                in_hand.reset(nothing)
            run.write()
            if not commit:
                tx.sql.settle()
                raise _Rehearsal
        return run

    def handler_of(self, body: object) -> Any:
        """Return the handler of a body. Raises what was found wrong while decoding, or UnknownType."""
        if isinstance(body, Exception):
            raise body
        handler = self._handlers.get(type(body))
        if handler is None:
            raise UnknownType(f"{self.group} has no handler for {type(body).__name__}")
        return handler

    def can_handle(self, body: object) -> bool:
        """Tell whether a body was read and there is a handler for it."""
        return type(body) in self._handlers

    @property
    def config(self) -> EngineConfig:
        """How this service decides."""
        return self._config

    @property
    def projections(self) -> Sequence[Projection]:
        """The read models written with each batch."""
        return self._projections


class _Run:
    """One attempt at one batch."""

    def __init__(self, engine: Engine, tx: Transaction, stage: Stage, findings: Findings) -> None:
        self._engine = engine
        self._tx = tx
        self.stage = stage
        self._findings = findings
        self._now = micros(stage.now)
        self._failed: list[ParkedMessage] = []
        self._retry_effects: list[PendingEffect] = []
        self._released: list[ParkedMessage] = []
        self.results: dict[str, Result] = {}
        self.done = self.retried = self.dead = self.duplicates = 0

    def decide(self, batch: Batch) -> None:
        """Decide every input in order, parked ones first."""
        group, tx = self._engine.group, self._tx
        keys = sorted({source.key for source in batch.inputs} | set(batch.due_keys))
        tx.sql.lock([lock_id(group, key) for key in keys])
        due = self._findings.to_try(tx.parked.run(group, batch.due_keys, self._now))
        parked = self._unrepeated([self._parked_input(message) for message in due])
        self._blocked = tx.parked.blocked(group, keys)
        work = [*parked, *self._fresh(batch.inputs)]
        wanted: dict[str, Sequence[str]] = {}
        for source in work:
            if self._findings.rejection(source) is not None:
                continue
            in_hand.set(source)
            with suppress(Exception):
                wanted[source.id] = self._engine.handler_of(source.body).streams(source.body)
        self._load(work, wanted)
        stopped: set[str] = set()
        for source in work:
            in_hand.set(source)
            if source.parked is not None and source.key in stopped:
                continue
            if source.parked is None and source.key in self._blocked and self._can_wait(source):
                self._wait(source)
            elif not self._decide_one(source, wanted.get(source.id)):
                stopped.add(source.key)

    def _load(self, work: Sequence[Input], wanted: Mapping[str, Sequence[str]]) -> None:
        """Lock and read every stream of the batch: first those that say which others are needed, then all others, in id order."""
        looking = [(s, look) for s in work if s.id in wanted and (look := self._look(s)) is not None]
        first = {stream for source, _ in looking for stream in wanted[source.id]}
        if first:
            self.stage.load(self._tx, sorted(first))
        rest = {stream for streams in wanted.values() for stream in streams}
        for source, look in looking:
            in_hand.set(source)
            with suppress(Exception):
                rest.update(look(source.body, self.stage.states(wanted[source.id])))
        self.stage.load(self._tx, sorted(rest - first))

    def _look(self, source: Input) -> Any:
        return getattr(self._engine.handler_of(source.body), "more_streams", None)

    def _more(self, look: Any, body: object, names: Sequence[str]) -> Sequence[str]:
        """Return a looking handler's other streams as they are needed now: an earlier message of the batch may have added some."""
        more: Sequence[str] = look(body, self.stage.states(names))
        missing = sorted(set(more) - self.stage.streams.keys())
        if missing:
            self.stage.load(self._tx, missing)
        return more

    def write(self) -> None:
        """Write everything, each table once."""
        group, tx, config = self._engine.group, self._tx, self._engine.config
        self.stage.write(tx, group, self._engine.projections, self._now + duration_micros(config.effect_lease))
        for effect in self._retry_effects:
            tx.effects.add(group, [effect], self._now + config.retry.delay_micros(effect.attempt))
        tx.parked.release(self._released)
        tx.parked.update([message for message in self._failed if message.seq])
        tx.parked.park(group, [message for message in self._failed if not message.seq])

    def _fresh(self, inputs: Sequence[Input]) -> list[Input]:
        """Leave out what was handled before: messages by id, timers fired and effects recorded by somebody else meanwhile."""
        tx, group = self._tx, self._engine.group
        inputs = [source for source in inputs if not self._is_for_another(source)]
        messages = {source.id: source.sent_at for source in inputs if self._has_message_id(source)}
        fresh = tx.message_ids.remember(group, list(messages.items()))
        fresh |= {timer.id for timer in tx.timers.take([source.timer for source in inputs if source.timer])}
        fresh |= tx.effects.done([source.effect.id for source in inputs if source.effect])
        left: list[Input] = []
        for source in inputs:
            if self._has_message_id(source):
                name: str | None = source.id
            else:
                name = source.timer.id if source.timer else source.effect.id if source.effect else None
            if name is None:
                left.append(source)
            elif name in fresh:
                fresh.discard(name)
                left.append(source)
            else:
                self.duplicates += 1
                self.results.setdefault(source.id, Result())
        return left

    def _is_for_another(self, source: Input) -> bool:
        """Tell whether a record was sent again for the sake of another handler of its topic, which alone could not handle it."""
        if source.record is None or source.headers.get(FOR, self._engine.group) == self._engine.group:
            return False
        self.duplicates += 1
        self.results[source.id] = Result()
        return True

    def _has_message_id(self, source: Input) -> bool:
        """Tell whether an input's id is recorded: what nobody here could read may come again, readable, and is then no duplicate."""
        return source.record is not None and self._engine.can_handle(source.body)

    def _unrepeated(self, parked: Sequence[Input]) -> list[Input]:
        """Leave out those redriven that were not readable when they were parked, so that their ids say nothing, and came again since."""
        first = {s.id: s.sent_at for s in parked if s.parked and not s.parked.blocks and self._has_message_id(s)}
        fresh = self._tx.message_ids.remember(self._engine.group, list(first.items()))
        left: list[Input] = []
        for source in parked:
            if source.parked and source.id in first and source.id not in fresh:
                self.duplicates += 1
                self._released.append(source.parked)
                continue
            fresh.discard(source.id)
            left.append(source)
        return left

    def _parked_input(self, message: ParkedMessage) -> Input:
        return self._engine.decoder.decode(unpack_record(message.record), message)

    def _decide_one(self, source: Input, streams: Sequence[str] | None) -> bool:
        try:
            if (rejection := self._findings.rejection(source)) is not None:
                raise rejection
            handler = self._engine.handler_of(source.body)
            names = handler.streams(source.body) if streams is None else streams
            if (look := getattr(handler, "more_streams", None)) is not None:
                names = [*names, *self._more(look, source.body, names)]
            context = Context(self.stage.now, source.id, source.key)
            with self._engine.tracing.deciding(source) as trace_headers:
                decision: Decision = handler.decide(source.body, self.stage.states(names), context)
                self.stage.add(source, decision, trace_headers)
        except Exception as error:
            self._fail(source, error)
            return False
        self.done += 1
        if source.parked is not None:
            self._released.append(source.parked)
        self.results[source.id] = Result(decision.reply)
        return True

    def _fail(self, source: Input, error: Exception) -> None:
        self.results[source.id] = Result(error=error)
        if source.record is not None:
            self._park(source, source.record, error)
        elif source.timer is not None:
            self._postpone(source, self._engine.config.retry.delay_micros(5))
            log.error("timer failed", exc_info=error, extra={"timer_id": source.timer.id})
        elif source.effect is not None:
            self._retry_effects.append(replace(source.effect, attempt=source.effect.attempt + 1))
            log.error("outcome refused", exc_info=error, extra={"effect_id": source.effect.id})

    def _park(self, source: Input, record: Any, error: Exception) -> None:
        message = park(source, error, self._engine.config.retry, self._now, blocks=self._engine.can_handle(source.body))
        self._failed.append(message)
        if message.blocks:
            self._blocked.add(source.key)
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "message_key": source.key}
        if message.state == "dead":
            self.dead += 1
            self.stage.outbox.append(dead_letter(record, self._engine.group, message))
            known = isinstance(error, PermanentError)
            log.error("message is dead", exc_info=None if known else error, extra={**where, "reason": message.reason})
        else:
            self.retried += 1
            log.warning("message will be tried again", extra={**where, "reason": message.reason, "attempt": message.attempt})

    def _can_wait(self, source: Input) -> bool:
        """Tell whether an input is to queue up behind its key's parked head. What cannot be handled in any case dies at once."""
        return source.timer is not None or (source.record is not None and self._engine.can_handle(source.body))

    def _wait(self, source: Input) -> None:
        """Queue up behind the key's parked head."""
        if source.record is not None:
            self._failed.append(park_behind(source, self._now))
        else:
            self._postpone(source, self._engine.config.retry.delay_micros(1))

    def _postpone(self, source: Input, delay: int) -> None:
        """Let a timer fire later, unless an earlier input of this batch replaced or cancelled it."""
        timer = source.timer
        assert timer is not None
        if timer.id in self.stage.timers or timer.id in self.stage.cancelled:
            return
        self.stage.timers[timer.id] = replace(timer, due_at=self._now + delay, awaits=None)


def lock_id(group: str, key: str) -> int:
    """Return the number, signed and of 64 bits, under which a key of a group is locked. A collision only makes two keys wait in turn."""
    return int.from_bytes(blake2b(f"{group}\x00{key}".encode(), digest_size=8).digest(), "big", signed=True)
