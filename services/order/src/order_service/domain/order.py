"""The order: its states, its events, and how one follows from the other. Pure; knows neither protobuf nor storage."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from millrace.decision import StreamType


class OrderStatus(StrEnum):
    """Where an order stands. It is final when `COMPLETED` or `CANCELLED`."""

    NEW = "new"
    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    COMPLETED = "completed"

    @property
    def final(self) -> bool:
        """Whether nothing of the order changes any more."""
        return self in (OrderStatus.CANCELLED, OrderStatus.COMPLETED)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole minor units of a currency (ISO 4217)."""

    currency: str
    minor_units: int


NO_MONEY = Money("", 0)


@dataclass(frozen=True, slots=True)
class OrderItem:
    """A line of an order; `price_minor` is for one piece, in the order's currency."""

    item_id: str
    name: str
    quantity: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class Order:
    """The order aggregate's state. `sequence` counts its published events; `fingerprint` tells two requests of one key apart."""

    order_id: str = ""
    customer_id: str = ""
    items: tuple[OrderItem, ...] = ()
    total: Money = NO_MONEY
    fingerprint: str = ""
    status: OrderStatus = OrderStatus.NEW
    reason: str = ""
    delayed: bool = False
    sequence: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """A customer placed the order."""

    order_id: str
    customer_id: str
    items: tuple[OrderItem, ...]
    total: Money
    fingerprint: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """Paid and reserved: it can no longer be cancelled by the customer."""

    at: datetime


@dataclass(frozen=True, slots=True)
class CancellationBegun:
    """It will be cancelled once all that happened for it is undone."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """Cancelled, with nothing kept and nothing reserved."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderCompleted:
    """The carrier has it, on time or with a delay."""

    delayed: bool
    at: datetime


def evolve_order(state: Order, event: object) -> Order:
    """Return the order behind an event."""
    match event:
        case OrderCreated(order_id, customer_id, items, total, fingerprint, at):
            return Order(order_id, customer_id, items, total, fingerprint, OrderStatus.PENDING, "", False, 1, at, at)
        case OrderConfirmed(at):
            return replace(state, status=OrderStatus.CONFIRMED, sequence=state.sequence + 1, updated_at=at)
        case CancellationBegun(reason, at):
            return replace(state, status=OrderStatus.CANCELLING, reason=reason, updated_at=at)
        case OrderCancelled(reason, at):
            return replace(state, status=OrderStatus.CANCELLED, reason=reason, sequence=state.sequence + 1, updated_at=at)
        case OrderCompleted(delayed, at):
            return replace(state, status=OrderStatus.COMPLETED, delayed=delayed, sequence=state.sequence + 1, updated_at=at)
    raise TypeError(f"{type(event).__name__} is no event of an order")


ORDERS = StreamType(
    "order", Order(), evolve_order, (OrderCreated, OrderConfirmed, CancellationBegun, OrderCancelled, OrderCompleted)
)
