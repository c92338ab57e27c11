"""Decides a batch in one transaction.

The order within it: move the consumer's positions; lock the keys; drop duplicates; load the streams; decide in order; write each table
once. A failing message is taken out with its key's successors and the rest commits. Threads call `process`, each with a session of its
own; the engine keeps no state between batches.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from millrace.clock import Clock, utc_now
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers
from millrace.errors import PositionLost, UnknownType
from millrace.inbox.positions import Move
from millrace.observability.in_hand import in_hand
from millrace.pipeline.attempt import Attempt
from millrace.pipeline.codec import StreamCodec
from millrace.pipeline.culprits import Findings, Unit, search
from millrace.pipeline.decoding import Decoder
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.failures import RetryPolicy
from millrace.pipeline.inputs import Input, Result
from millrace.pipeline.metrics import PipelineMetrics
from millrace.pipeline.staging import Projection, Stage
from millrace.pipeline.tracing import PipelineTracing
from millrace.store.contract import Session
from millrace.store.faults import Fault, classify

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

    def _attempt(self, session: Session, batch: Batch, findings: Findings, *, commit: bool) -> Attempt:
        now = self._clock()
        with session.transaction() as tx:
            owned = tx.positions.advance(self.group, batch.moves if commit else ())
            stage = Stage(self._registry, self._codec, self._config.source, now, self._config.max_message_bytes)
            run = Attempt(self, tx, stage, findings)
            nothing = in_hand.set(None)
            try:
                run.admit(batch)
                if not owned():
                    raise PositionLost(f"{self.group} no longer owns what it read")
                run.decide()
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
