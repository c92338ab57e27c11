"""What is or was set aside for one order: one stream an order.

A release that comes first leaves RELEASED behind, which refuses the reservation that comes later.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from millrace.decision import StreamType

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """How far a reservation is."""

    NONE = "none"
    RESERVED = "reserved"
    SHORT = "short"
    RELEASED = "released"
    SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Line:
    """Some pieces of one item."""

    item_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """One item there was too little of."""

    item_id: str
    requested: int
    available: int


@dataclass(frozen=True, slots=True)
class ReservationState:
    """A reservation. `lines` are as they were asked for; each time is that of the step of its name."""

    order_id: str = ""
    status: Status = Status.NONE
    lines: tuple[Line, ...] = ()
    short: tuple[Shortage, ...] = ()
    decided_at: datetime = _NEVER
    released_at: datetime = _NEVER
    shipped_at: datetime = _NEVER

    @property
    def updated_at(self) -> datetime:
        """Return when the last step was."""
        return max(self.decided_at, self.released_at, self.shipped_at)

    @property
    def put_back(self) -> tuple[Line, ...]:
        """Return what a release put back: nothing, if nothing was set aside."""
        return self.lines if self.status is Status.RELEASED else ()


@dataclass(frozen=True, slots=True)
class ReservationMade:
    """All lines were set aside."""

    order_id: str
    lines: tuple[Line, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ReservationRefused:
    """Stock was short: nothing was set aside."""

    order_id: str
    lines: tuple[Line, ...]
    short: tuple[Shortage, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ReservationReleased:
    """What was set aside was put back; before any reservation: none will be made."""

    order_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReservationShipped:
    """What was set aside left the warehouse."""

    order_id: str
    at: datetime


ReservationEvent: TypeAlias = ReservationMade | ReservationRefused | ReservationReleased | ReservationShipped


def evolve(state: ReservationState, event: ReservationEvent) -> ReservationState:
    """Return the reservation after an event."""
    match event:
        case ReservationMade(order_id, lines, at):
            return replace(state, order_id=order_id, status=Status.RESERVED, lines=lines, decided_at=at)
        case ReservationRefused(order_id, lines, short, at):
            return replace(state, order_id=order_id, status=Status.SHORT, lines=lines, short=short, decided_at=at)
        case ReservationReleased(order_id, at):
            return replace(state, order_id=order_id, status=Status.RELEASED, released_at=at)
        case ReservationShipped(order_id, at):
            return replace(state, order_id=order_id, status=Status.SHIPPED, shipped_at=at)


def pieces(lines: Iterable[Line]) -> dict[str, int]:
    """Return the pieces of each item, an item's lines added up, in order of item id."""
    total: dict[str, int] = {}
    for line in lines:
        total[line.item_id] = total.get(line.item_id, 0) + line.quantity
    return dict(sorted(total.items()))


RESERVATION = StreamType(
    "reservation",
    ReservationState(),
    evolve,
    (ReservationMade, ReservationRefused, ReservationReleased, ReservationShipped),
)
