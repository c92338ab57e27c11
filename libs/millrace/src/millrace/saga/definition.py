"""How a saga is declared. Data only: what is done with it is in `process`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.saga.locks import LockTerms
from millrace.saga.state import SagaState

D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Step(Generic[D]):
    """One step: what asks for it, what answers it, and what undoes it.

    `command` makes the request from the saga's data; None where the owner's own event is the request. A reply is known by its class.
    `compensation` makes its request from the data and the reason for which the saga turned back.
    `answer_within` runs from the moment the broker has the request; without an answer it is asked again, each time waiting `back_off`
    times longer, and after `attempts` the step counts as failed with its outcome unknown. `attempts` None: asked until answered, for
    steps behind the point of no return. A step is compensated if it succeeded or if its outcome is unknown; compensations are asked for
    until answered.
    `locks` names what the step must have to itself, from the saga's data: taken before the step is asked for, and held to the saga's end.
    """

    name: str
    succeeded_by: Sequence[type[Protobuf]]
    command: Callable[[D], Protobuf] | None = None
    failed_by: Sequence[type[Protobuf]] = ()
    compensation: Callable[[D, str], Protobuf] | None = None
    compensated_by: Sequence[type[Protobuf]] = ()
    answer_within: timedelta = timedelta(seconds=10)
    attempts: int | None = 3
    back_off: float = 2.0
    longest_wait: timedelta = timedelta(minutes=5)
    locks: Callable[[D], Sequence[str]] | None = None

    def wait(self, attempt: int) -> timedelta:
        """Return how long attempt number `attempt` (from 1) waits for its answer."""
        factor = self.back_off ** min(attempt - 1, 30)
        return min(self.answer_within * factor, max(self.longest_wait, self.answer_within))


@dataclass(frozen=True, slots=True)
class SagaDefinition(Generic[D]):
    """A saga: its name and its steps, in order. Raises ValueError for two steps of one name, a compensation nobody answers, a lock
    first needed behind the point of no return, or a lease less than twice as long as a step may wait: one that is well would lose its locks.

    A saga keeps the steps it began with. `retired` names those taken out of `steps` while sagas under way still have them: they are not
    asked for any more, nor undone.
    """

    name: str
    steps: Sequence[Step[D]] = field(default_factory=tuple)
    retired: Sequence[str] = ()
    lock_terms: LockTerms = field(default_factory=LockTerms)

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len({*names, *self.retired}) != len(names) + len(self.retired) or not names:
            raise ValueError(f"saga {self.name} needs steps with names of their own, not {[*names, *self.retired]}")
        for step in self.steps:
            if (step.compensation is None) != (not step.compensated_by):
                raise ValueError(f"step {step.name} needs both a compensation and what answers it, or neither")
            if not step.succeeded_by:
                raise ValueError(f"step {step.name} needs a reply that says it succeeded")
            if step.locks is not None and step.attempts is None:
                raise ValueError(f"step {step.name} cannot be refused a lock any more: an earlier step has to take it")
        if self.lease < 2 * self._longest_wait:
            raise ValueError(f"saga {self.name} needs locks that hold twice as long as its longest wait, {self._longest_wait}")

    @property
    def lease(self) -> timedelta:
        """How long its locks hold without a sign of the saga."""
        return 3 * self._longest_wait if self.lock_terms.lease is None else self.lock_terms.lease

    def resources(self, data: D, state: SagaState) -> list[str]:
        """Return every resource whose lock the saga may have or need: what its owner loads the locks of."""
        needed = {resource for step in self.steps if step.locks is not None for resource in step.locks(data)}
        return sorted(needed | {held.resource for held in state.locks})

    def replies(self) -> set[type[Protobuf]]:
        """Return every class that answers some step."""
        return {reply for step in self.steps for reply in (*step.succeeded_by, *step.failed_by, *step.compensated_by)}

    @property
    def _longest_wait(self) -> timedelta:
        return max(max(step.longest_wait, step.answer_within) for step in self.steps)
