"""The notifications about one order: one stream an order. Each message makes at most one, whatever order they come in."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from millrace.decision import StreamType


class Kind(StrEnum):
    """What a notification is about."""

    ORDER_CREATED = "order_created"
    ORDER_CONFIRMED = "order_confirmed"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_COMPLETED = "order_completed"
    SHIPPING_SCHEDULED = "shipping_scheduled"
    SHIPPING_DELAYED = "shipping_delayed"
    SHIPPING_FAILED = "shipping_failed"
    SHIPPING_DELIVERED = "shipping_delivered"


class Channel(StrEnum):
    """How a notification goes out: by mail, or kept for the record only."""

    EMAIL = "email"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class NoticesState:
    """Ids of the notifications that were made and of those that went out."""

    made: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotificationMade:
    """It was decided what to tell a customer."""

    notification_id: str
    order_id: str
    customer_id: str
    kind: Kind
    channel: Channel
    subject: str
    body: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NotificationSent:
    """It went out; by `channel`, which is the record where the mail server refused the address for good."""

    notification_id: str
    channel: Channel
    at: datetime


NoticesEvent: TypeAlias = NotificationMade | NotificationSent


def evolve(state: NoticesState, event: NoticesEvent) -> NoticesState:
    """Return the notices after an event."""
    if isinstance(event, NotificationMade):
        return replace(state, made=(*state.made, event.notification_id))
    return replace(state, sent=(*state.sent, event.notification_id))


NOTICES = StreamType("notification", NoticesState(), evolve, (NotificationMade, NotificationSent))
