"""Use case: an order is confirmed, so it is shipped."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from millrace.decision import Context, Decision, Effect
from shipping_service.domain.booking import BookCarrier, booking_key
from shipping_service.domain.shipment import SHIPMENTS, BookingRequested, Shipment, Status
from shop.order.v1.order_messages_pb2 import OrderConfirmedEvent
from shopkit.content import check_order_event


class ShipOrder:
    """Decides OrderConfirmedEvent. One that was overtaken by its order's cancellation does nothing."""

    def __init__(self, give_up: timedelta) -> None:
        """Wait up to `give_up` for a carrier that cannot be reached."""
        self._give_up = give_up

    def streams(self, body: OrderConfirmedEvent) -> Sequence[str]:
        """The order's shipment."""
        return (SHIPMENTS.stream(body.order_id),)

    def decide(self, body: OrderConfirmedEvent, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Ask the carrier, unless it was asked or the order is off. Raises Invalid."""
        check_order_event(body)
        stream = SHIPMENTS.stream(body.order_id)
        shipment = states[stream]
        if shipment.status is not Status.NONE or body.sequence <= shipment.sequence:
            return Decision()
        item_ids = tuple(item.item_id for item in body.items)
        amount = body.total_amount.minor_units
        booking = BookCarrier(body.order_id, body.customer_id, item_ids, amount, context.now + self._give_up)
        requested = BookingRequested(body.order_id, body.customer_id, body.sequence)
        return Decision([(stream, requested)], effects=[Effect(booking_key(body.order_id), booking)])
