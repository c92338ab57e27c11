"""During a rolling upgrade the version before, which knows no locks, works on what the new one wrote, or leaves it to the new one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from millrace.decision import StreamType
from millrace.errors import Undecodable
from millrace.eventstore.events import Append, NewEvent
from millrace.pipeline.codec import StreamCodec, to_json
from millrace.saga import HeldLock, SagaState, SagaStatus
from millrace.saga.state import LocksAwaited, LocksTaken, SagaStarted, StepRequested, evolve_saga
from millrace.store.open import open_store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STARTED = SagaStarted(("charge",), NOW)


class StepStatusBefore(StrEnum):
    PENDING = "pending"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class StepBefore:
    name: str
    status: StepStatusBefore = StepStatusBefore.PENDING


@dataclass(frozen=True, slots=True)
class SagaBefore:
    status: SagaStatus = SagaStatus.NEW
    steps: tuple[StepBefore, ...] = ()


BEFORE = StreamType("saga", SagaBefore(), lambda state, _: state, (SagaStarted, StepRequested))


def read_by_the_version_before(*events: object) -> SagaBefore:
    state = SagaState()
    for event in events:
        state = evolve_saga(state, event)
    store = open_store("memory://")
    store.migrate()
    session = store.session()
    with session.transaction() as tx:
        new = [NewEvent(type(event).__name__, to_json(event)) for event in events]
        tx.events.append([Append("saga-1", 0, new, to_json(state), 1)], 1)
        stored = tx.events.load(["saga-1"])["saga-1"]
        try:
            found: SagaBefore = StreamCodec([BEFORE]).state("saga-1", stored, tx.events)
            return found
        finally:
            session.close()


def test_a_saga_that_holds_locks_is_read() -> None:
    taken = LocksTaken("charge", (HeldLock("x", 1, NOW),), NOW)
    assert read_by_the_version_before(STARTED, taken, StepRequested("charge", 1, NOW)).steps == (
        StepBefore("charge", StepStatusBefore.REQUESTED),
    )


def test_a_saga_that_waits_for_a_lock_is_left_to_the_new_version() -> None:
    with pytest.raises(Undecodable, match="LocksAwaited"):
        read_by_the_version_before(STARTED, LocksAwaited("charge", 1, "x is held by a", NOW))
