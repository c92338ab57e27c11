"""Semantic locks: a resource marked as being changed by a saga, so that others are refused or wait (Garcia-Molina and Salem, *Sagas*, 1987;
Richardson, *Microservices Patterns*, chapter 4).

A lock is a stream of events of its own, one a resource: it is taken and given back in the transaction of the decision that does so. It
holds until the saga's end, or until `until`, when its holder has given no sign for that long. `token` grows with each taking and never
goes back (a fencing token: Kleppmann, *How to do distributed locking*, 2016): who lost a lock holds an old one, and is known by it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from millrace.decision import StreamType


@dataclass(frozen=True, slots=True)
class LockTerms:
    """How a saga's locks behave.

    `lease`: how long a lock holds without a sign of its saga; None: three times the longest wait of a step. A saga that meets another's
    lock tries again every `try_every`, turns back after `wait_at_most`, or at once where waiting could close a circle.
    """

    lease: timedelta | None = None
    wait_at_most: timedelta = timedelta(seconds=30)
    try_every: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock of one resource. `holder` is a saga's id, empty while nobody has it; `began` is when that saga did."""

    token: int = 0
    holder: str = ""
    began: datetime | None = None
    until: datetime | None = None

    def keeps_out(self, saga_id: str, now: datetime) -> bool:
        """Whether another saga than this one has the lock, and has given a sign in time."""
        return self.holder not in ("", saga_id) and self.until is not None and now < self.until

    def is_held(self, saga_id: str, token: int) -> bool:
        """Whether a saga still has what it took as `token`. Whoever writes what the lock covers asks this in the same decision."""
        return self.holder == saga_id and self.token == token


@dataclass(frozen=True, slots=True)
class LockTaken:
    """A saga took the lock: a free one, or one whose holder gave no sign in time."""

    holder: str
    token: int
    began: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class LockRenewed:
    """The holder gave a sign."""

    token: int
    until: datetime


@dataclass(frozen=True, slots=True)
class LockReleased:
    """The holder is done."""

    token: int


LOCK_EVENTS = (LockTaken, LockRenewed, LockReleased)


def lock_stream(category: str = "lock") -> StreamType[LockState]:
    """Return the stream type under which a service keeps the locks of its sagas; a resource is the id of its stream."""
    return StreamType(category, LockState(), evolve_lock, LOCK_EVENTS)


def evolve_lock(state: LockState, event: object) -> LockState:
    """Return the lock behind an event."""
    match event:
        case LockTaken(holder, token, began, until):
            return LockState(token, holder, began, until)
        case LockRenewed(_, until):
            return replace(state, until=until)
        case LockReleased():
            return LockState(state.token)
    raise TypeError(f"{type(event).__name__} is no event of a lock")
