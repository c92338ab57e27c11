"""The shipment of one order: its state, its events, and how one follows from the other. Pure; knows no wire format and no carrier."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from millrace.decision import StreamType


class Status(StrEnum):
    """How far a shipment is. Failed, delivered and cancelled are final."""

    NONE = "none"
    BOOKING = "booking"
    SCHEDULED = "scheduled"
    DELAYED = "delayed"
    FAILED = "failed"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Shipment:
    """The state of a shipment. `sequence` is the greatest of the order's messages seen so far."""

    status: Status = Status.NONE
    order_id: str = ""
    customer_id: str = ""
    sequence: int = 0
    tracking_number: str = ""
    reason: str = ""
    expected_delivery_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BookingRequested:
    """The order is confirmed: the carrier is asked."""

    order_id: str
    customer_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Booked:
    """The carrier took it; `late` says that it will arrive later than usual, for `reason`."""

    tracking_number: str
    expected_delivery_at: datetime
    late: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BookingFailed:
    """No carrier takes it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The customer has it."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order was cancelled: nothing is shipped, nor will be."""

    order_id: str
    customer_id: str
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class CancellationNoted:
    """The order was cancelled when there was nothing left to cancel."""

    sequence: int


Event = BookingRequested | Booked | BookingFailed | Delivered | Cancelled | CancellationNoted


def evolve(state: Shipment, event: Event) -> Shipment:
    """Return the state after an event."""
    match event:
        case BookingRequested(order_id, customer_id, sequence):
            return replace(state, status=Status.BOOKING, order_id=order_id, customer_id=customer_id, sequence=sequence)
        case Booked(tracking_number, expected, late, reason):
            status = Status.DELAYED if late else Status.SCHEDULED
            return replace(state, status=status, tracking_number=tracking_number, expected_delivery_at=expected, reason=reason)
        case BookingFailed(reason):
            return replace(state, status=Status.FAILED, reason=reason)
        case Delivered():
            return replace(state, status=Status.DELIVERED)
        case Cancelled(order_id, customer_id, sequence, reason):
            return replace(
                state, status=Status.CANCELLED, order_id=order_id, customer_id=customer_id, sequence=sequence, reason=reason
            )
        case CancellationNoted(sequence):
            return replace(state, sequence=sequence)


SHIPMENTS = StreamType(
    "shipment", Shipment(), evolve, (BookingRequested, Booked, BookingFailed, Delivered, Cancelled, CancellationNoted)
)
"""One stream an order: `shipment-<order id>`."""
