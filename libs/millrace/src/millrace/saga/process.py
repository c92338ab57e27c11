"""Runs a saga: from its state and one happening, what is recorded, asked for and no longer waited for.

Pure, called by a service's handlers, which append the events to the saga's stream and publish the requests in one decision with their
own. A timer against a late reply is decided by the one versioned state: whoever comes second finds the step no longer waiting.

A saga keeps the steps it began with, in their order, whatever its definition has become meanwhile: one that was added is not asked for,
one that was retired is passed over. How a step is asked for, answered and undone is what the definition says now. A step that the
definition does not name at all was begun by a newer version: TransientError leaves it to a process that knows it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Generic, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.decision import StartTimer, TimerFired
from millrace.errors import TransientError
from millrace.saga.definition import SagaDefinition, Step
from millrace.saga.locking import Locking, Obstacle
from millrace.saga.locks import LockState
from millrace.saga.state import (
    CompensationRequested,
    CompensationStarted,
    LocksAwaited,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaState,
    SagaStatus,
    StepCompensated,
    StepFailed,
    StepGivenUp,
    StepRequested,
    StepState,
    StepStatus,
    StepSucceeded,
)
from millrace.saga.turn import Request, Turn

D = TypeVar("D")
_PURPOSES = {StepStatus.COMPENSATING: "undo", StepStatus.AWAITING_LOCK: "lock"}


class SagaProcess(Generic[D]):
    """The saga of one entity, `saga_id`, with the data its commands are made of.

    `locks` holds the state of every resource that `SagaDefinition.resources` names; where it names none, there is nothing to hand in.
    """

    def __init__(
        self,
        definition: SagaDefinition[D],
        saga_id: str,
        state: SagaState,
        data: D,
        now: datetime,
        locks: Mapping[str, LockState] = MappingProxyType({}),
    ) -> None:
        self._definition = definition
        self._saga_id = saga_id
        self._data = data
        self._now = now
        self._turn = Turn(state)
        self._locking = Locking(saga_id, definition.lease, self._turn, locks, now)

    def kept_out(self) -> Obstacle | None:
        """Return another saga's lock that would keep this one from its first step, for an owner that refuses then rather than waits."""
        first = self._definition.steps[0]
        return self._locking.obstacle(self._locking.missing(self._needs(first)))

    def start(self) -> Turn:
        """Begin; a saga that has begun is left alone."""
        if self._turn.state.status is SagaStatus.NEW:
            self._turn.record(SagaStarted(tuple(step.name for step in self._definition.steps), self._now))
            self._go_on()
        return self._settled()

    def reply(self, body: Protobuf, reason: str = "") -> Turn:
        """Take an answer; one that is not waited for changes nothing. Raises TransientError while a step not known here is waited for."""
        awaited = self._awaited()
        if awaited is None or awaited.status is StepStatus.AWAITING_LOCK or self._retired(awaited):
            return self._turn
        step, kind = self._step(awaited), type(body)
        if awaited.status is StepStatus.COMPENSATING:
            if kind in step.compensated_by:
                self._answered(awaited, StepCompensated(step.name, self._now))
                self._undo_next()
        elif kind in step.succeeded_by:
            self._answered(awaited, StepSucceeded(step.name, self._now))
            self._go_on()
        elif kind in step.failed_by:
            self._answered(awaited, StepFailed(step.name, reason, self._now))
            self._turn_back(reason or f"{step.name} failed")
        return self._settled()

    def timer(self, fired: TimerFired) -> Turn:
        """Take a deadline that passed; a stale one changes nothing. Raises TransientError where it is that of a step not known here."""
        awaited = self._awaited()
        if awaited is None or awaited.attempts != fired.attempt or fired.id != self._timer_id(awaited):
            return self._turn
        if self._retired(awaited):
            self._pass_over(awaited)
        elif awaited.status is StepStatus.AWAITING_LOCK:
            self._begin(self._step(awaited))
        elif awaited.status is StepStatus.REQUESTED:
            self._unanswered(self._step(awaited), fired.attempt)
        else:
            self._undo(self._step(awaited), fired.attempt + 1)
        return self._settled()

    def abort(self, reason: str) -> Turn:
        """Turn back, wherever the saga stands; what is under way counts as unknown. A saga not running is left alone."""
        if self._turn.state.status is SagaStatus.RUNNING:
            awaited = self._awaited()
            if awaited is not None:
                asked = awaited.status is StepStatus.REQUESTED
                self._answered(awaited, (StepGivenUp if asked else StepFailed)(awaited.name, reason, self._now))
            self._turn_back(reason)
        return self._settled()

    def _settled(self) -> Turn:
        self._locking.settle()
        return self._turn

    def _awaited(self) -> StepState | None:
        """Return the step whose answer is waited for: there is never more than one."""
        waiting = (StepStatus.AWAITING_LOCK, StepStatus.REQUESTED, StepStatus.COMPENSATING)
        return next((step for step in self._turn.state.steps if step.status in waiting), None)

    def _retired(self, state: StepState) -> bool:
        return state.name in self._definition.retired

    def _step(self, state: StepState) -> Step[D]:
        for step in self._definition.steps:
            if step.name == state.name:
                return step
        raise TransientError(f"saga {self._definition.name} has no step {state.name} here; left to a process that knows it")

    def _answered(self, awaited: StepState, event: object) -> None:
        self._turn.cancel_timers.append(self._timer_id(awaited))
        self._turn.record(event)

    def _pass_over(self, state: StepState) -> None:
        self._turn.record(StepGivenUp(state.name, f"{state.name} is retired", self._now))
        if self._turn.state.status is SagaStatus.COMPENSATING:
            self._undo_next()
        else:
            self._go_on()

    def _go_on(self) -> None:
        for state in self._turn.state.steps:
            if state.status is StepStatus.PENDING and not self._retired(state):
                self._begin(self._step(state))
                return
        self._turn.record(SagaCompleted(self._now))

    def _begin(self, step: Step[D]) -> None:
        """Ask for a step under its locks; without them wait, or turn back."""
        missing = self._locking.missing(self._needs(step))
        other = self._locking.obstacle(missing)
        if lost := self._lost(step):
            self._refuse(step, lost)
        elif other is None:
            self._locking.take(step.name, missing)
            self._ask(step, 1)
        elif self._locking.may_wait(other, self._definition.lock_terms):
            attempt = self._turn.state.step(step.name).attempts + 1
            self._turn.record(LocksAwaited(step.name, attempt, str(other), self._now))
            timer_id = self._timer_id(self._turn.state.step(step.name))
            self._turn.timers.append(StartTimer(timer_id, self._definition.name, self._definition.lock_terms.try_every, attempt))
        else:
            self._refuse(step, str(other))

    def _refuse(self, step: Step[D], reason: str) -> None:
        self._turn.record(StepFailed(step.name, reason, self._now))
        self._turn_back(reason)

    def _needs(self, step: Step[D]) -> Sequence[str]:
        return () if step.locks is None else step.locks(self._data)

    def _lost(self, step: Step[D]) -> str:
        """Say why a step is not to be asked for, where the saga's lock is another's by now; behind the point of no return it goes on."""
        lost = "" if step.attempts is None else self._locking.lost()
        return f"the lock on {lost} was lost" if lost else ""

    def _unanswered(self, step: Step[D], attempt: int) -> None:
        lost = self._lost(step)
        if not lost and (step.attempts is None or attempt < step.attempts):
            self._ask(step, attempt + 1)
            return
        reason = lost or f"{step.name} gave no answer"
        self._turn.record(StepGivenUp(step.name, reason, self._now))
        self._turn_back(reason)

    def _ask(self, step: Step[D], attempt: int) -> None:
        body = None if step.command is None else step.command(self._data)
        self._turn.record(StepRequested(step.name, attempt, self._now))
        self._turn.requests.append(Request(step.name, body, self._deadline(step, attempt)))

    def _turn_back(self, reason: str) -> None:
        self._turn.record(CompensationStarted(reason, self._now))
        self._undo_next()

    def _undo_next(self) -> None:
        for state in reversed(self._turn.state.steps):
            if state.status not in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN) or self._retired(state):
                continue
            step = self._step(state)
            if step.compensation is not None:
                self._undo(step, 1)
                return
        self._turn.record(SagaCompensated(self._now))

    def _undo(self, step: Step[D], attempt: int) -> None:
        assert step.compensation is not None
        self._turn.record(CompensationRequested(step.name, attempt, self._now))
        body = step.compensation(self._data, self._turn.state.reason)
        self._turn.requests.append(Request(step.name, body, self._deadline(step, attempt)))

    def _deadline(self, step: Step[D], attempt: int) -> StartTimer:
        timer_id = self._timer_id(self._turn.state.step(step.name))
        return StartTimer(timer_id, self._definition.name, step.wait(attempt), attempt)

    def _timer_id(self, state: StepState) -> str:
        """Return the id of the timer of what is waited for: one for the step, others for its lock and its compensation."""
        purpose = _PURPOSES.get(state.status, "ask")
        return f"{self._definition.name}:{self._saga_id}:{state.name}:{purpose}"
