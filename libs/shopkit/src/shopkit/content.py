"""What the content of a message must keep to, whoever sent it. Handlers call these; the error makes a dead letter.

A message is checked before it is decided, so that nothing impossible is ever stored.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.edge.validation import Violations
from shop.order.v1 import order_messages_pb2 as order_pb2
from shop.order.v1.order_messages_pb2 import (
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderConfirmedEvent,
    OrderCreatedEvent,
    OrderItem,
)
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)

OrderEvent: TypeAlias = OrderCreatedEvent | OrderConfirmedEvent | OrderCancelledEvent | OrderCompletedEvent
ShippingEvent: TypeAlias = ShippingScheduledEvent | ShippingDelayedEvent | ShippingFailedEvent | ShippingDeliveredEvent
ORDER_STATUS: dict[type[OrderEvent], int] = {
    OrderCreatedEvent: order_pb2.ORDER_STATUS_PENDING,
    OrderConfirmedEvent: order_pb2.ORDER_STATUS_CONFIRMED,
    OrderCancelledEvent: order_pb2.ORDER_STATUS_CANCELLED,
    OrderCompletedEvent: order_pb2.ORDER_STATUS_COMPLETED,
}
SHIPPING_TIME: dict[type[ShippingEvent], str] = {
    ShippingScheduledEvent: "scheduled_at",
    ShippingDelayedEvent: "delayed_at",
    ShippingFailedEvent: "failed_at",
    ShippingDeliveredEvent: "delivered_at",
}
ORDER_TIME: dict[type[OrderEvent], str] = {
    OrderCreatedEvent: "created_at",
    OrderConfirmedEvent: "confirmed_at",
    OrderCancelledEvent: "cancelled_at",
    OrderCompletedEvent: "completed_at",
}
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799


class Line(Protocol):
    """Some pieces of an item, in whatever message."""

    @property
    def item_id(self) -> str: ...
    @property
    def quantity(self) -> int: ...


def check_lines(found: Violations, field: str, lines: Sequence[Line]) -> None:
    """Check that there is at least one line, each of a named item and at least one piece."""
    found.not_empty(field, lines)
    for number, line in enumerate(lines):
        found.text(f"{field}[{number}].item_id", line.item_id)
        found.quantity(f"{field}[{number}].quantity", line.quantity)


def check_time(found: Violations, field: str, stamp: Timestamp, *, present: bool) -> None:
    """Check that a time is there and lies in the years 1 to 9999."""
    if found.check(field, present, "must be set"):
        in_range = _EARLIEST <= stamp.seconds <= _LATEST and 0 <= stamp.nanos < 1_000_000_000
        found.check(field, in_range, "must be a time of the years 1 to 9999")


def check_order_event(body: OrderEvent) -> None:
    """Raise Invalid, naming each field, unless this is what an order can be."""
    found, kind = Violations(), type(body)
    found.uuid("order_id", body.order_id)
    found.uuid("customer_id", body.customer_id)
    check_lines(found, "items", body.items)
    found.money("total_amount", body.total_amount.currency, body.total_amount.minor_units)
    _check_prices(found, body.items, body.total_amount.currency)
    found.check("status", body.status == ORDER_STATUS[kind], "does not fit the message's type")
    found.check("sequence", body.sequence >= 1, "must be at least 1")
    if isinstance(body, OrderCancelledEvent):
        found.text("reason", body.reason, max_length=2000, required=False)
    time = ORDER_TIME[kind]
    check_time(found, time, getattr(body, time), present=_has(body, time))
    found.raise_if_any()


def check_shipping_event(body: ShippingEvent) -> None:
    """Raise Invalid, naming each field, unless this is what can become of a shipping."""
    found = Violations()
    found.uuid("order_id", body.order_id)
    found.uuid("customer_id", body.customer_id)
    if isinstance(body, ShippingDelayedEvent | ShippingFailedEvent):
        found.text("reason", body.reason, max_length=2000, required=False)
    if not isinstance(body, ShippingFailedEvent):
        found.text("tracking_number", body.tracking_number)
    if isinstance(body, ShippingScheduledEvent | ShippingDelayedEvent):
        due = "expected_delivery_at"
        check_time(found, due, body.expected_delivery_at, present=_has(body, due))
    time = SHIPPING_TIME[type(body)]
    check_time(found, time, getattr(body, time), present=_has(body, time))
    found.raise_if_any()


def _check_prices(found: Violations, items: Sequence[OrderItem], currency: str) -> None:
    for number, item in enumerate(items):
        field = f"items[{number}]"
        found.text(f"{field}.name", item.name, required=False)
        if found.money(f"{field}.price", item.price.currency, item.price.minor_units):
            found.one_currency([(f"{field}.price.currency", item.price.currency)], currency)


def _has(body: OrderEvent | ShippingEvent, field: str) -> bool:
    present: bool = body.HasField(field)  # type: ignore[arg-type]
    return present
