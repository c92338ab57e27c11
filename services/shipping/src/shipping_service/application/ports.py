"""What the shipping service needs of the outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shipping_service.domain.booking import BookCarrier
from shipping_service.domain.shipment import Status


@dataclass(frozen=True, slots=True)
class Answer:
    """The carrier's last word on one booking. `taken` False: it is not shipped, for `reason`; `late` gives a reason too."""

    taken: bool
    tracking_number: str = ""
    late: bool = False
    reason: str = ""


class Carrier(Protocol):
    """The company that ships parcels. The first answer to an idempotency key is its answer for good.

    Each call may raise Unavailable when nothing was done, and anything else transient when it may have been.
    """

    async def book(self, idempotency_key: str, booking: BookCarrier) -> Answer:
        """Ship a parcel, once a key."""

    async def find(self, idempotency_key: str) -> Answer | None:
        """Return what became of a key; None while nothing did."""

    async def withdraw(self, idempotency_key: str, order_id: str, reason: str) -> Answer:
        """See to it that a booking not made by now never is, and return what stands: a refusal, or the booking that was made."""

    async def recall(self, idempotency_key: str, order_id: str, reason: str) -> None:
        """Stop the parcel of a booking, made or not: it is not delivered."""


@dataclass(frozen=True, slots=True)
class ShipmentView:
    """A shipment as readers see it."""

    order_id: str
    customer_id: str
    status: Status
    tracking_number: str
    reason: str
    expected_delivery_at: datetime | None
    updated_at: datetime


class ShipmentReads(Protocol):
    """The read model of shipments. Raises Unavailable when the database is away."""

    async def get(self, order_id: str) -> ShipmentView | None:
        """Return one shipment, if there is one."""

    async def page(self, *, status: Status | None, after: str, size: int) -> Sequence[ShipmentView]:
        """Return up to `size` shipments behind an order id, in order of their order's id."""
