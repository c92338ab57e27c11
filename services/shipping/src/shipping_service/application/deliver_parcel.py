"""Use case: the time of delivery has come."""

from collections.abc import Mapping, Sequence

from millrace.decision import Context, Decision, TimerFired
from shipping_service.application import answers
from shipping_service.domain.shipment import SHIPMENTS, Delivered, Shipment, Status


class DeliverParcel:
    """Decides the delivery timer of a shipment; the timer's key is the order id."""

    def streams(self, body: TimerFired) -> Sequence[str]:
        """The order's shipment."""
        return (SHIPMENTS.stream(body.key),)

    def decide(self, body: TimerFired, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Record the delivery, unless nothing is under way any more."""
        stream = SHIPMENTS.stream(body.key)
        shipment = states[stream]
        if shipment.status not in (Status.SCHEDULED, Status.DELAYED):
            return Decision()
        return Decision([(stream, Delivered())], [answers.delivered(shipment, context.now)])
