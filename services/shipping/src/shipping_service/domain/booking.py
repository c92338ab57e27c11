"""What the carrier is asked, and what became of it. The id of a call is its idempotency key, and there is one of each an order."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class BookCarrier:
    """Ship an order. From `give_up_at` on, a carrier that cannot be reached is no longer waited for: the booking is withdrawn."""

    order_id: str
    customer_id: str
    item_ids: tuple[str, ...]
    amount_minor: int
    give_up_at: datetime


@dataclass(frozen=True, slots=True)
class WithdrawBooking:
    """Do not ship an order after all."""

    order_id: str
    customer_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParcelBooked:
    """The carrier ships it; `late` says that it will be later than usual, for `reason`."""

    order_id: str
    tracking_number: str
    late: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BookingRefused:
    """The carrier does not ship it, nor will it."""

    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BookingWithdrawn:
    """The carrier will not ship what it had taken."""

    order_id: str


def booking_key(order_id: str) -> str:
    """Return the idempotency key of an order's booking."""
    return f"booking-{order_id}"


def withdrawal_id(order_id: str) -> str:
    """Return the id of the call that withdraws an order's booking."""
    return f"withdrawal-{order_id}"


def delivery_timer(order_id: str) -> str:
    """Return the id of the timer that fires when an order's parcel arrives."""
    return f"delivery-{order_id}"
