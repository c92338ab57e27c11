"""Runs a saga: from its state and one happening, what is recorded, asked for and no longer waited for.

Pure, called by a service's handlers, which append the events to the saga's stream and publish the requests in one decision with their
own. A timer against a late reply is decided by the one versioned state: whoever comes second finds the step no longer waiting.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.decision import StartTimer, TimerFired
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
    StepStatus,
    StepSucceeded,
    evolve_saga,
)

D = TypeVar("D")
_UNDO = "undo"


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
        """Take an answer; one that no step waits for changes nothing."""
        state = self._turn.state
        for step in self._definition.steps:
            if state.finished or state.status is SagaStatus.NEW:
                break
            status = state.step(step.name).status
            if status is StepStatus.REQUESTED and type(body) in step.succeeded_by:
                self._turn.cancel_timers.append(self._timer_id(step))
                self._turn.record(StepSucceeded(step.name, self._now))
                self._go_on()
                break
            if status is StepStatus.REQUESTED and type(body) in step.failed_by:
                self._turn.cancel_timers.append(self._timer_id(step))
                self._turn.record(StepFailed(step.name, reason, self._now))
                self._turn_back(reason or f"{step.name} failed")
                break
            if status is StepStatus.COMPENSATING and type(body) in step.compensated_by:
                self._turn.cancel_timers.append(self._timer_id(step, _UNDO))
                self._turn.record(StepCompensated(step.name, self._now))
                self._undo_next()
                break
        return self._turn

    def timer(self, fired: TimerFired) -> Turn:
        """Take a deadline that passed; a stale one changes nothing."""
        for step in self._definition.steps:
            if self._turn.state.status in (SagaStatus.NEW, SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
                break
            state = self._turn.state.step(step.name)
            if state.attempts != fired.attempt:
                continue
            if state.status is StepStatus.REQUESTED and fired.id == self._timer_id(step):
                self._unanswered(step, fired.attempt)
            elif state.status is StepStatus.COMPENSATING and fired.id == self._timer_id(step, _UNDO):
                self._undo(step, fired.attempt + 1)
        return self._turn

    def abort(self, reason: str) -> Turn:
        """Turn back, wherever the saga stands; what is under way counts as unknown. A saga not running is left alone."""
        if self._turn.state.status is SagaStatus.RUNNING:
            for step in self._definition.steps:
                if self._turn.state.step(step.name).status is StepStatus.REQUESTED:
                    self._turn.cancel_timers.append(self._timer_id(step))
                    self._turn.record(StepGivenUp(step.name, reason, self._now))
            self._turn_back(reason)
        return self._turn

    def _go_on(self) -> None:
        for step in self._definition.steps:
            if self._turn.state.step(step.name).status is StepStatus.PENDING:
                self._ask(step, 1)
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
        deadline = StartTimer(self._timer_id(step), self._definition.name, step.wait(attempt), attempt)
        self._turn.record(StepRequested(step.name, attempt, self._now))
        self._turn.requests.append(Request(step.name, body, deadline))

    def _turn_back(self, reason: str) -> None:
        self._turn.record(CompensationStarted(reason, self._now))
        self._undo_next()

    def _undo_next(self) -> None:
        for step in reversed(self._definition.steps):
            status = self._turn.state.step(step.name).status
            if step.compensation is not None and status in (StepStatus.SUCCEEDED, StepStatus.UNKNOWN):
                self._undo(step, 1)
                return
        self._turn.record(SagaCompensated(self._now))

    def _undo(self, step: Step[D], attempt: int) -> None:
        assert step.compensation is not None
        deadline = StartTimer(self._timer_id(step, _UNDO), self._definition.name, step.wait(attempt), attempt)
        self._turn.record(CompensationRequested(step.name, attempt, self._now))
        self._turn.requests.append(Request(step.name, step.compensation(self._data), deadline))

    def _timer_id(self, step: Step[D], purpose: str = "ask") -> str:
        return f"{self._definition.name}:{self._saga_id}:{step.name}:{purpose}"
