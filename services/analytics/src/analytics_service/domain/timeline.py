"""Everything that was heard of one order: one stream an order, one event a message, in the order they came.

What is known of the order is folded by the greatest `sequence`: a message that comes late adds to the record and changes nothing else.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from millrace.decision import StreamType


class OrderStatus(StrEnum):
    """How far an order is, as its messages say."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


FINAL = (OrderStatus.CANCELLED, OrderStatus.COMPLETED)


class ShippingStatus(StrEnum):
    """What became of an order's shipping; the later in this list wins, since these messages carry no sequence."""

    SCHEDULED = "scheduled"
    DELAYED = "delayed"
    FAILED = "failed"
    DELIVERED = "delivered"


_SHIPPING_RANK = {status: rank for rank, status in enumerate(ShippingStatus)}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message as it was recorded: its id, type and topic, the serialised payload, and when it says it happened."""

    message_id: str
    type: str
    topic: str
    payload: bytes
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class OrderRecorded:
    """A message of the order itself, with the whole status it carries."""

    order_id: str
    record: Recorded
    sequence: int
    status: OrderStatus
    currency: str
    amount_minor: int
    reason: str
    delayed: bool


@dataclass(frozen=True, slots=True)
class ShippingRecorded:
    """A message of the order's shipping."""

    order_id: str
    record: Recorded
    status: ShippingStatus


@dataclass(frozen=True, slots=True)
class TimelineState:
    """What is known of an order. `sequence` 0: nothing yet but, perhaps, its shipping. `recorded` are the ids of its messages."""

    order_id: str = ""
    sequence: int = 0
    status: OrderStatus | None = None
    currency: str = ""
    amount_minor: int = 0
    reason: str = ""
    delayed: bool = False
    created_at: datetime | None = None
    finished_at: datetime | None = None
    shipping: ShippingStatus | None = None
    recorded: tuple[str, ...] = ()

    @property
    def messages(self) -> int:
        """Return how many messages were recorded."""
        return len(self.recorded)

    @property
    def duration(self) -> timedelta | None:
        """Return the time from the order's creation to its final status, once both are known."""
        if self.created_at is None or self.finished_at is None:
            return None
        return max(self.finished_at - self.created_at, timedelta(0))


MOST_MESSAGES = 100
"""How many messages one order can have: several times what any sender of ours writes of it, and a bound to what is kept of it."""

TimelineEvent: TypeAlias = OrderRecorded | ShippingRecorded


def evolve(state: TimelineState, event: TimelineEvent) -> TimelineState:
    """Return what is known after one more message."""
    state = replace(state, order_id=event.order_id, recorded=(*state.recorded, event.record.message_id))
    if isinstance(event, ShippingRecorded):
        return replace(state, shipping=_further(state.shipping, event.status))
    if event.status is OrderStatus.PENDING:
        state = replace(state, created_at=event.record.occurred_at)
    if event.sequence <= state.sequence:
        return state
    return replace(
        state,
        sequence=event.sequence,
        status=event.status,
        currency=event.currency,
        amount_minor=event.amount_minor,
        reason=event.reason,
        delayed=event.delayed,
        finished_at=event.record.occurred_at if event.status in FINAL else None,
    )


def _further(known: ShippingStatus | None, heard: ShippingStatus) -> ShippingStatus:
    if known is None or _SHIPPING_RANK[heard] > _SHIPPING_RANK[known]:
        return heard
    return known


TIMELINE = StreamType("timeline", TimelineState(), evolve, (OrderRecorded, ShippingRecorded), snapshot_version=2)
