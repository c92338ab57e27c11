"""The locks of one saga during one turn: takes, renews and gives them back, and says when one keeps it out or was lost. Pure.

A saga takes all locks of a step together, or none. It waits for another's lock, but not while it holds one itself and the other saga is
the older: then it turns back at once. In a circle of sagas that wait for one another somebody would wait for an older one while holding
a lock, so there is none (wait-die: Rosenkrantz, Stearns and Lewis, 1978).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.saga.locks import LockReleased, LockRenewed, LockState, LockTaken, LockTerms, evolve_lock
from millrace.saga.state import HeldLock, LocksRenewed, LocksTaken
from millrace.saga.turn import Turn


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Another saga's lock in the way."""

    resource: str
    lock: LockState

    def __str__(self) -> str:
        return f"{self.resource} is held by {self.lock.holder}"


class Locking:
    """The locks of one saga. `known` holds the state of every resource that the saga's steps may need or that it holds."""

    def __init__(self, saga_id: str, lease: timedelta, turn: Turn, known: Mapping[str, LockState], now: datetime) -> None:
        self._saga_id = saga_id
        self._lease = lease
        self._turn = turn
        self._known = dict(known)
        self._now = now

    def missing(self, resources: Sequence[str]) -> list[str]:
        """Return those of `resources` that the saga does not hold, each once, in order."""
        return sorted({*resources} - {held.resource for held in self._turn.state.locks})

    def obstacle(self, resources: Sequence[str]) -> Obstacle | None:
        """Return the first lock that keeps the saga out. Raises KeyError for a resource that is not known."""
        found = (Obstacle(resource, self._known[resource]) for resource in resources)
        return next((other for other in found if other.lock.keeps_out(self._saga_id, self._now)), None)

    def may_wait(self, other: Obstacle, terms: LockTerms) -> bool:
        """Whether to wait: not for too long, and never so that sagas could wait for one another in a circle."""
        state = self._turn.state
        if self._now - (state.waiting_since or self._now) >= terms.wait_at_most:
            return False
        if not state.locks or other.lock.began is None or state.started_at is None:
            return True
        return (state.started_at, self._saga_id) < (other.lock.began, other.lock.holder)

    def take(self, step: str, resources: Sequence[str]) -> None:
        """Take locks that nothing keeps the saga from."""
        if not resources:
            return
        until = self._now + self._lease
        taken = tuple(HeldLock(resource, self._known[resource].token + 1, until) for resource in resources)
        began = self._turn.state.started_at or self._now
        for lock in taken:
            self._record(lock.resource, LockTaken(self._saga_id, lock.token, began, until))
        self._turn.record(LocksTaken(step, taken, self._now))

    def lost(self) -> str:
        """Return a resource whose lock was taken over by another saga; empty if all are still held."""
        return next((held.resource for held in self._turn.state.locks if not self._still_has(held)), "")

    def settle(self) -> None:
        """Give every lock back at the saga's end; before it, renew those that have lived half of their lease. Without a happening, nothing."""
        if not self._turn.events:
            return
        if self._turn.state.finished:
            for resource, lock in sorted(self._known.items()):
                if lock.holder == self._saga_id:
                    self._record(resource, LockReleased(lock.token))
            return
        until = self._now + self._lease
        held = [held for held in self._turn.state.locks if self._still_has(held)]
        old = tuple(lock.resource for lock in held if lock.until - self._now < self._lease / 2)
        for resource in old:
            self._record(resource, LockRenewed(self._known[resource].token, until))
        if old:
            self._turn.record(LocksRenewed(old, until, self._now))

    def _record(self, resource: str, event: object) -> None:
        self._turn.lock_events.append((resource, event))
        self._known[resource] = evolve_lock(self._known[resource], event)

    def _still_has(self, held: HeldLock) -> bool:
        lock = self._known.get(held.resource)
        return lock is not None and lock.is_held(self._saga_id, held.token)
