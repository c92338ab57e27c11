"""Use case: the carrier's answer to a booking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from millrace.decision import Context, Decision, StartTimer
from shipping_service.application import answers
from shipping_service.domain.booking import BookingRefused, BookingWithdrawn, ParcelBooked, delivery_timer
from shipping_service.domain.shipment import SHIPMENTS, Booked, BookingFailed, Shipment, Status, evolve


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """How long a parcel is under way, usually and when the carrier is late."""

    usual: timedelta
    late: timedelta


class SettleBooking:
    """Decides ParcelBooked: the others are told, and the delivery is waited for."""

    def __init__(self, times: DeliveryTimes) -> None:
        self._times = times

    def streams(self, body: ParcelBooked) -> Sequence[str]:
        """The order's shipment."""
        return (SHIPMENTS.stream(body.order_id),)

    def decide(self, body: ParcelBooked, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Record the booking; a shipment cancelled meanwhile stays so, and its booking is being withdrawn."""
        stream = SHIPMENTS.stream(body.order_id)
        if states[stream].status is not Status.BOOKING:
            return Decision()
        takes = self._times.late if body.late else self._times.usual
        booked = Booked(body.tracking_number, context.now + takes, body.late, body.reason)
        shipment = evolve(states[stream], booked)
        told = (answers.delayed if body.late else answers.scheduled)(shipment, context.now)
        return Decision([(stream, booked)], [told], timers=[StartTimer(delivery_timer(body.order_id), "delivery", takes)])


class SettleRefusal:
    """Decides BookingRefused: the others are told that nothing will be shipped."""

    def streams(self, body: BookingRefused) -> Sequence[str]:
        """The order's shipment."""
        return (SHIPMENTS.stream(body.order_id),)

    def decide(self, body: BookingRefused, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Record the refusal; a shipment cancelled meanwhile stays so."""
        stream = SHIPMENTS.stream(body.order_id)
        if states[stream].status is not Status.BOOKING:
            return Decision()
        failed = BookingFailed(body.reason)
        return Decision([(stream, failed)], [answers.failed(evolve(states[stream], failed), context.now)])


class SettleWithdrawal:
    """Decides BookingWithdrawn: the shipment was cancelled when it was asked for, so nothing is left to do."""

    def streams(self, body: BookingWithdrawn) -> Sequence[str]:
        """None."""
        return ()

    def decide(self, body: BookingWithdrawn, states: Mapping[str, Shipment], context: Context) -> Decision:
        """Nothing follows."""
        return Decision()
