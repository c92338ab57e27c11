"""What one happening does to a saga, while it is being worked out. Filled by `process` and `locking`, read by the saga's owner."""

from dataclasses import dataclass, field

from google.protobuf.message import Message as Protobuf

from millrace.decision import StartTimer
from millrace.saga.state import SagaState, StepSucceeded, evolve_saga


@dataclass(frozen=True, slots=True)
class Request:
    """Something to be asked for. `body` None: by the owner's own event. `deadline` belongs on the message that asks."""

    step: str
    body: Protobuf | None
    deadline: StartTimer


@dataclass(slots=True)
class Turn:
    """What one happening led to: the state behind it, and what the owner has to record, publish, start and cancel.

    `lock_events` belong to the streams of the resources they name, which the owner keeps (`locks.lock_stream`).
    """

    state: SagaState
    events: list[object] = field(default_factory=list)
    lock_events: list[tuple[str, object]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    timers: list[StartTimer] = field(default_factory=list)
    cancel_timers: list[str] = field(default_factory=list)

    def record(self, event: object) -> None:
        """Append an event and fold it."""
        self.events.append(event)
        self.state = evolve_saga(self.state, event)

    def succeeded(self, step: str) -> bool:
        """Whether this turn brought a step's success."""
        return any(isinstance(event, StepSucceeded) and event.step == step for event in self.events)
