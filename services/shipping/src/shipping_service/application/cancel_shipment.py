"""Use case: an order is cancelled, so it is not shipped."""

from collections.abc import Mapping, Sequence

from millrace.decision import Context, Decision, Effect
from shipping_service.domain.booking import WithdrawBooking, delivery_timer, withdrawal_id
from shipping_service.domain.shipment import SHIPMENTS, CancellationNoted, Cancelled, Shipment, Status
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent
from shopkit.content import check_order_event


class CancelShipment:
    """Decides OrderCancelledEvent. It may come before the order's confirmation, which then does nothing."""

    def streams(self, body: OrderCancelledEvent) -> Sequence[str]:
        """The order's shipment."""
        return (SHIPMENTS.stream(body.order_id),)

    def decide(self, body: OrderCancelledEvent, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Stop what is not delivered yet; also what the carrier has been asked for and may have taken. Raises Invalid."""
        check_order_event(body)
        stream = SHIPMENTS.stream(body.order_id)
        shipment = states[stream]
        if body.sequence <= shipment.sequence:
            return Decision()
        cancelled = Cancelled(body.order_id, body.customer_id, body.sequence, body.reason)
        match shipment.status:
            case Status.NONE:
                return Decision([(stream, cancelled)])
            case Status.BOOKING | Status.SCHEDULED | Status.DELAYED:
                withdraw = WithdrawBooking(body.order_id, body.customer_id, body.reason)
                return Decision(
                    [(stream, cancelled)],
                    effects=[Effect(withdrawal_id(body.order_id), withdraw)],
                    cancel_timers=[delivery_timer(body.order_id)],
                )
            case Status.FAILED | Status.DELIVERED | Status.CANCELLED:
                return Decision([(stream, CancellationNoted(body.sequence))])
