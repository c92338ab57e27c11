"""Records every message of orders and shipping, each once. Nothing is published and nothing is called: a pure consumer."""

from collections.abc import Mapping, Sequence
from typing import Any

from analytics_service.domain.timeline import (
    MOST_MESSAGES,
    TIMELINE,
    OrderRecorded,
    OrderStatus,
    Recorded,
    ShippingRecorded,
    ShippingStatus,
    TimelineState,
)
from millrace.cqrs.routing import route_of
from millrace.decision import Context, Decision
from millrace.errors import Refused
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent, OrderCompletedEvent, OrderConfirmedEvent, OrderCreatedEvent
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)
from shopkit.content import ORDER_TIME, SHIPPING_TIME, OrderEvent, ShippingEvent, check_order_event, check_shipping_event
from shopkit.mapping import from_timestamp

ORDER_STATUSES: Mapping[type[OrderEvent], OrderStatus] = {
    OrderCreatedEvent: OrderStatus.PENDING,
    OrderConfirmedEvent: OrderStatus.CONFIRMED,
    OrderCancelledEvent: OrderStatus.CANCELLED,
    OrderCompletedEvent: OrderStatus.COMPLETED,
}
SHIPPING_STATUSES: Mapping[type[ShippingEvent], ShippingStatus] = {
    ShippingScheduledEvent: ShippingStatus.SCHEDULED,
    ShippingDelayedEvent: ShippingStatus.DELAYED,
    ShippingFailedEvent: ShippingStatus.FAILED,
    ShippingDeliveredEvent: ShippingStatus.DELIVERED,
}


class RecordOrder:
    """Decides every `order.*` message."""

    def streams(self, body: OrderEvent) -> Sequence[str]:
        """Name the order's timeline."""
        return [TIMELINE.stream(body.order_id)]

    def decide(self, body: OrderEvent, states: Mapping[str, Any], context: Context) -> Decision:
        """Record the message, once. Raises Invalid where its content makes no sense, Refused where it is one too many."""
        check_order_event(body)
        stream = TIMELINE.stream(body.order_id)
        if _is_recorded(states[stream], context.message_id):
            return Decision()
        event = OrderRecorded(
            body.order_id,
            _recorded(body, ORDER_TIME[type(body)], context),
            body.sequence,
            ORDER_STATUSES[type(body)],
            body.total_amount.currency,
            body.total_amount.minor_units,
            body.reason if isinstance(body, OrderCancelledEvent) else "",
            isinstance(body, OrderCompletedEvent) and body.delayed,
        )
        return Decision(events=[(stream, event)])


class RecordShipping:
    """Decides every `shipping.*` message."""

    def streams(self, body: ShippingEvent) -> Sequence[str]:
        """Name the order's timeline."""
        return [TIMELINE.stream(body.order_id)]

    def decide(self, body: ShippingEvent, states: Mapping[str, Any], context: Context) -> Decision:
        """Record the message, once. Raises Invalid where its content makes no sense, Refused where it is one too many."""
        check_shipping_event(body)
        stream = TIMELINE.stream(body.order_id)
        if _is_recorded(states[stream], context.message_id):
            return Decision()
        record = _recorded(body, SHIPPING_TIME[type(body)], context)
        event = ShippingRecorded(body.order_id, record, SHIPPING_STATUSES[type(body)])
        return Decision(events=[(stream, event)])


def _is_recorded(state: TimelineState, message_id: str) -> bool:
    """The library forgets message ids after a week; these topics are kept for good, and may be read again from their beginning."""
    if message_id in state.recorded:
        return True
    if state.messages >= MOST_MESSAGES:
        raise Refused(f"order {state.order_id} has {MOST_MESSAGES} messages already")
    return False


def _recorded(body: OrderEvent | ShippingEvent, time: str, context: Context) -> Recorded:
    route = route_of(type(body))
    payload = body.SerializeToString(deterministic=True)
    return Recorded(context.message_id, route.type, route.topic, payload, from_timestamp(getattr(body, time)))
