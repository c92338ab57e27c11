"""What a saga remembers: events of its stream, and the state they add up to. Pure data, readable by operators as JSON."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from millrace.decision import StreamType


class SagaStatus(StrEnum):
    """Where a saga stands."""

    NEW = "new"
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


class StepStatus(StrEnum):
    """Where a step stands. `UNKNOWN`: asked for, never answered. `AWAITING_LOCK`: to be asked for once another saga's lock is gone."""

    PENDING = "pending"
    AWAITING_LOCK = "awaiting lock"
    REQUESTED = "requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


@dataclass(frozen=True, slots=True)
class StepState:
    """One step's progress. `attempts` counts the requests of what is under way: the step, or its compensation."""

    name: str
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    requested_at: datetime | None = None
    finished_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that a saga took: under which token, and until when it holds without a further sign of the saga."""

    resource: str
    token: int
    until: datetime


@dataclass(frozen=True, slots=True)
class SagaState:
    """One saga's progress. `waiting_since` is set while another saga's lock is waited for."""

    status: SagaStatus = SagaStatus.NEW
    steps: tuple[StepState, ...] = ()
    reason: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    locks: tuple[HeldLock, ...] = ()
    waiting_since: datetime | None = None

    def step(self, name: str) -> StepState:
        """Return a step's progress. Raises KeyError for one the saga does not have."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


@dataclass(frozen=True, slots=True)
class SagaStarted:
    """The saga began, with these steps."""

    steps: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class LocksAwaited:
    """A step waits for a lock of another saga."""

    step: str
    attempt: int
    obstacle: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LocksTaken:
    """The saga took what a step needs."""

    step: str
    locks: tuple[HeldLock, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class LocksRenewed:
    """The saga gave a sign to those who wait for its locks."""

    resources: tuple[str, ...]
    until: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class StepRequested:
    """A step was asked for."""

    step: str
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """A step was answered with success."""

    step: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step was refused; nothing of it happened."""

    step: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StepGivenUp:
    """A step's answer is no longer waited for; whether it happened is unknown."""

    step: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CompensationRequested:
    """A step's compensation was asked for."""

    step: str
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StepCompensated:
    """A step is undone."""

    step: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CompensationStarted:
    """The saga turned back."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SagaCompleted:
    """Every step succeeded."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SagaCompensated:
    """Everything that had happened is undone."""

    at: datetime


SAGA_EVENTS = (
    SagaStarted, StepRequested, StepSucceeded, StepFailed, StepGivenUp, CompensationRequested, StepCompensated, CompensationStarted,
    SagaCompleted, SagaCompensated, LocksAwaited, LocksTaken, LocksRenewed,
)  # fmt: skip


def saga_stream(category: str) -> StreamType[SagaState]:
    """Return the stream type under which a service keeps its sagas."""
    return StreamType(category, SagaState(), evolve_saga, SAGA_EVENTS)


def evolve_saga(state: SagaState, event: object) -> SagaState:
    """Return the state behind an event."""
    match event:
        case SagaStarted(steps, at):
            return SagaState(SagaStatus.RUNNING, tuple(StepState(name) for name in steps), started_at=at)
        case LocksAwaited(step, attempt, obstacle, at):
            waiting = replace(state, waiting_since=state.waiting_since or at)
            return _with(waiting, step, StepStatus.AWAITING_LOCK, attempts=attempt, detail=obstacle)
        case LocksTaken(step, locks, _):
            taken = {lock.resource: lock for lock in (*state.locks, *locks)}
            holding = replace(state, locks=tuple(taken.values()), waiting_since=None)
            return _with(holding, step, StepStatus.PENDING, attempts=0, detail="")
        case LocksRenewed(resources, until, _):
            renewed = (replace(lock, until=until) if lock.resource in resources else lock for lock in state.locks)
            return replace(state, locks=tuple(renewed))
        case StepRequested(step, attempt, at):
            return _with(state, step, StepStatus.REQUESTED, attempts=attempt, requested_at=state.step(step).requested_at or at)
        case StepSucceeded(step, at):
            return _with(state, step, StepStatus.SUCCEEDED, finished_at=at)
        case StepFailed(step, reason, at):
            return _with(state, step, StepStatus.FAILED, finished_at=at, detail=reason)
        case StepGivenUp(step, reason, at):
            return _with(state, step, StepStatus.UNKNOWN, finished_at=at, detail=reason)
        case CompensationStarted(reason, _):
            return replace(state, status=SagaStatus.COMPENSATING, reason=reason, waiting_since=None)
        case CompensationRequested(step, attempt, _):
            return _with(state, step, StepStatus.COMPENSATING, attempts=attempt)
        case StepCompensated(step, at):
            return _with(state, step, StepStatus.COMPENSATED, finished_at=at)
        case SagaCompleted(at):
            return replace(state, status=SagaStatus.COMPLETED, finished_at=at, locks=())
        case SagaCompensated(at):
            return replace(state, status=SagaStatus.COMPENSATED, finished_at=at, locks=())
    raise TypeError(f"{type(event).__name__} is no event of a saga")


def _with(
    state: SagaState,
    name: str,
    status: StepStatus,
    *,
    attempts: int | None = None,
    requested_at: datetime | None = None,
    finished_at: datetime | None = None,
    detail: str | None = None,
) -> SagaState:
    def changed(step: StepState) -> StepState:
        return StepState(
            name,
            status,
            step.attempts if attempts is None else attempts,
            requested_at or step.requested_at,
            finished_at or step.finished_at,
            step.detail if detail is None else detail,
        )

    return replace(state, steps=tuple(changed(step) if step.name == name else step for step in state.steps))
