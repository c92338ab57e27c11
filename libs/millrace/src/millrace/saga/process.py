"""Runs a saga: from its state and one happening, what is recorded, asked for and no longer waited for.

Pure, called by a service's handlers, which append the events to the saga's stream and publish the requests in one decision with their
own. A timer against a late reply is decided by the one versioned state: whoever comes second finds the step no longer waiting.

A saga keeps the steps it began with, in their order, whatever its definition has become meanwhile: one that was added is not asked for,
one that was retired is passed over. How a step is asked for, answered and undone is what the definition says now. A step that the
definition does not name at all was begun by a newer version: TransientError leaves it to a process that knows it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.decision import StartTimer, TimerFired
from millrace.errors import TransientError
from millrace.saga.definition import SagaDefinition, Step
from millrace.saga.state import (
    CompensationRequested,
    CompensationStarted,
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
    evolve_saga,
)

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Request:
    """Something to be asked for. `body` None: by the owner's own event. `deadline` belongs on the message that asks."""

    step: str
    body: Protobuf | None
    deadline: StartTimer


@dataclass(slots=True)
class Turn:
    """What one happening led to: the state behind it, and what the owner has to record, publish and cancel."""

    state: SagaState
    events: list[object] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    cancel_timers: list[str] = field(default_factory=list)

    def record(self, event: object) -> None:
        """Append an event and fold it."""
        self.events.append(event)
        self.state = evolve_saga(self.state, event)

    def succeeded(self, step: str) -> bool:
        """Whether this turn brought a step's success."""
        return any(isinstance(event, StepSucceeded) and event.step == step for event in self.events)


class SagaProcess(Generic[D]):
    """The saga of one entity, `saga_id`, with the data its commands are made of."""

    def __init__(self, definition: SagaDefinition[D], saga_id: str, state: SagaState, data: D, now: datetime) -> None:
        self._definition = definition
        self._saga_id = saga_id
        self._data = data
        self._now = now
        self._turn = Turn(state)

    def start(self) -> Turn:
        """Begin; a saga that has begun is left alone."""
        if self._turn.state.status is SagaStatus.NEW:
            self._turn.record(SagaStarted(tuple(step.name for step in self._definition.steps), self._now))
            self._go_on()
        return self._turn

    def reply(self, body: Protobuf, reason: str = "") -> Turn:
        """Take an answer; one that is not waited for changes nothing. Raises TransientError while a step not known here is waited for."""
        awaited = self._awaited()
        if awaited is None or self._retired(awaited):
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
        return self._turn

    def timer(self, fired: TimerFired) -> Turn:
        """Take a deadline that passed; a stale one changes nothing. Raises TransientError where it is that of a step not known here."""
        awaited = self._awaited()
        if awaited is None or awaited.attempts != fired.attempt or fired.id != self._timer_id(awaited):
            return self._turn
        if self._retired(awaited):
            self._pass_over(awaited)
        elif awaited.status is StepStatus.REQUESTED:
            self._unanswered(self._step(awaited), fired.attempt)
        else:
            self._undo(self._step(awaited), fired.attempt + 1)
        return self._turn

    def abort(self, reason: str) -> Turn:
        """Turn back, wherever the saga stands; what is under way counts as unknown. A saga not running is left alone."""
        if self._turn.state.status is SagaStatus.RUNNING:
            awaited = self._awaited()
            if awaited is not None:
                self._answered(awaited, StepGivenUp(awaited.name, reason, self._now))
            self._turn_back(reason)
        return self._turn

    def _awaited(self) -> StepState | None:
        """Return the step whose answer is waited for: there is never more than one."""
        waiting = (StepStatus.REQUESTED, StepStatus.COMPENSATING)
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
                self._ask(self._step(state), 1)
                return
        self._turn.record(SagaCompleted(self._now))

    def _unanswered(self, step: Step[D], attempt: int) -> None:
        if step.attempts is None or attempt < step.attempts:
            self._ask(step, attempt + 1)
            return
        reason = f"{step.name} gave no answer"
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
        """Return the id of the timer of what is waited for: one for the step, another for its compensation."""
        purpose = "undo" if state.status is StepStatus.COMPENSATING else "ask"
        return f"{self._definition.name}:{self._saga_id}:{state.name}:{purpose}"
