"""Turns what happened to an order into the messages that tell of it, each with the order's whole status and its sequence."""

from typing import Any

from millrace.decision import Publish, StartTimer
from order_service.application.saga import timestamp
from order_service.domain.order import CancellationBegun, Order, OrderCancelled, OrderCompleted, OrderConfirmed, OrderCreated
from shop.order.v1 import order_messages_pb2 as wire
from shop.types.v1.money_pb2 import Money


def announce(order: Order, event: object, deadline: StartTimer | None = None) -> list[Publish]:
    """Return the message for an event; `order` is the state behind it. Some events are nobody else's business."""
    common: dict[str, Any] = {
        "order_id": order.order_id,
        "customer_id": order.customer_id,
        "items": items_on_wire(order),
        "total_amount": money_on_wire(order),
        "sequence": order.sequence,
    }
    body: wire.OrderCreatedEvent | wire.OrderConfirmedEvent | wire.OrderCancelledEvent | wire.OrderCompletedEvent
    match event:
        case OrderCreated(at=at):
            body = wire.OrderCreatedEvent(status=wire.ORDER_STATUS_PENDING, created_at=timestamp(at), **common)
        case OrderConfirmed(at):
            body = wire.OrderConfirmedEvent(status=wire.ORDER_STATUS_CONFIRMED, confirmed_at=timestamp(at), **common)
        case OrderCancelled(reason, at):
            body = wire.OrderCancelledEvent(
                status=wire.ORDER_STATUS_CANCELLED, reason=reason, cancelled_at=timestamp(at), **common
            )
        case OrderCompleted(delayed, at):
            body = wire.OrderCompletedEvent(
                status=wire.ORDER_STATUS_COMPLETED, delayed=delayed, completed_at=timestamp(at), **common
            )
        case CancellationBegun():
            return []
        case _:
            raise TypeError(f"{type(event).__name__} is no event of an order")
    return [Publish(body, sequence=order.sequence, deadline=deadline)]


def items_on_wire(order: Order) -> list[wire.OrderItem]:
    """Return the lines of an order as messages carry them."""
    return [
        wire.OrderItem(
            item_id=item.item_id, name=item.name, quantity=item.quantity,
            price=Money(currency=order.total.currency, minor_units=item.price_minor),
        )
        for item in order.items
    ]  # fmt: skip


def money_on_wire(order: Order) -> Money:
    """Return the total of an order as messages carry it."""
    return Money(currency=order.total.currency, minor_units=order.total.minor_units)
