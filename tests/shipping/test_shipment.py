"""What becomes of an order's shipment, message by message."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message as Protobuf
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from millrace.cqrs.routing import route_of
from millrace.decision import Context, Decision, TimerFired
from shipping_service.application.deliver_parcel import DeliverParcel
from shipping_service.bootstrap import parts
from shipping_service.config import Config
from shipping_service.domain.booking import BookCarrier, BookingRefused, BookingWithdrawn, ParcelBooked, WithdrawBooking
from shipping_service.domain.shipment import SHIPMENTS, Shipment, Status
from shop.order.v1 import order_messages_pb2 as order_pb2
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent, OrderConfirmedEvent, OrderItem
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)
from shop.types.v1.money_pb2 import Money
from shopkit.testing.decider import Decider
from shopkit.topics import group_of

ORDER = "6f3f0d52-4c7e-4f8e-9d53-000000000001"
CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
BOOKING, WITHDRAWAL = f"booking-{ORDER}", f"withdrawal-{ORDER}"
ON_TIME = ParcelBooked(ORDER, "MR1", late=False, reason="")
LATE = ParcelBooked(ORDER, "MR1", late=True, reason="snow")
AT = Timestamp(seconds=1_767_225_600)


def item(item_id: str = "mug", quantity: int = 2, price: int = 100) -> OrderItem:
    return OrderItem(item_id=item_id, name=item_id, quantity=quantity, price=Money(currency="EUR", minor_units=price))


def confirmed(
    sequence: int = 2, *items: OrderItem, order_id: str = ORDER, customer_id: str = CUSTOMER, total: int = 200
) -> OrderConfirmedEvent:
    return OrderConfirmedEvent(
        order_id=order_id,
        customer_id=customer_id,
        items=items or [item()],
        total_amount=Money(currency="EUR", minor_units=total),
        status=order_pb2.ORDER_STATUS_CONFIRMED,
        confirmed_at=AT,
        sequence=sequence,
    )


def cancelled(sequence: int = 3, reason: str = "changed my mind") -> OrderCancelledEvent:
    return OrderCancelledEvent(
        order_id=ORDER,
        customer_id=CUSTOMER,
        items=[item()],
        total_amount=Money(currency="EUR", minor_units=200),
        status=order_pb2.ORDER_STATUS_CANCELLED,
        reason=reason,
        cancelled_at=AT,
        sequence=sequence,
    )


def status(shipments: Decider) -> str:
    [(found,)] = shipments.rows("SELECT status FROM shipment")
    return str(found)


def at(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def test_a_confirmed_order_is_booked_and_scheduled(shipments: Decider) -> None:
    shipments.tell(confirmed(2, item("mug"), item("teapot")))
    assert shipments.told() == []
    assert status(shipments) == "booking"
    give_up_at = shipments.clock() + timedelta(seconds=20)
    assert shipments.request(BOOKING) == BookCarrier(ORDER, CUSTOMER, ("mug", "teapot"), 200, give_up_at)
    shipments.answer(BOOKING, ON_TIME)
    [told] = shipments.told()
    assert isinstance(told, ShippingScheduledEvent)
    assert (told.order_id, told.customer_id, told.tracking_number) == (ORDER, CUSTOMER, "MR1")
    assert at(told.scheduled_at) == shipments.clock()
    assert at(told.expected_delivery_at) == shipments.clock() + timedelta(seconds=2)
    assert status(shipments) == "scheduled"


def test_a_late_carrier_delays_the_shipment(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.answer(BOOKING, LATE)
    [told] = shipments.told()
    assert isinstance(told, ShippingDelayedEvent)
    assert told.reason == "snow"
    assert at(told.expected_delivery_at) == shipments.clock() + timedelta(seconds=4)
    assert status(shipments) == "delayed"


def test_a_refusing_carrier_fails_the_shipment_for_good(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.answer(BOOKING, BookingRefused(ORDER, "no pianos"))
    [told] = shipments.told()
    assert isinstance(told, ShippingFailedEvent)
    assert (told.customer_id, told.reason) == (CUSTOMER, "no pianos")
    shipments.tell(cancelled())
    assert shipments.told() == []
    assert status(shipments) == "failed"
    assert shipments.asked == [BOOKING]


@pytest.mark.parametrize(("outcome", "seconds"), [(ON_TIME, 2), (LATE, 4)])
def test_the_parcel_is_delivered_when_its_time_has_come(shipments: Decider, outcome: ParcelBooked, seconds: int) -> None:
    shipments.tell(confirmed())
    shipments.answer(BOOKING, outcome)
    shipments.told()
    shipments.clock.skip(timedelta(seconds=seconds, microseconds=-1))
    assert shipments.fire() == 0
    shipments.clock.skip(timedelta(microseconds=1))
    assert shipments.fire() == 1
    [told] = shipments.told()
    assert isinstance(told, ShippingDeliveredEvent)
    assert (told.tracking_number, at(told.delivered_at)) == ("MR1", shipments.clock())
    assert status(shipments) == "delivered"
    assert shipments.fire() == 0


def test_a_confirmation_that_comes_twice_is_booked_once(shipments: Decider) -> None:
    record = shipments.record(confirmed())
    shipments.tell(record, record)
    shipments.tell(record)
    shipments.tell(confirmed())
    shipments.answer(BOOKING, ON_TIME)
    shipments.answer(BOOKING, ON_TIME)
    assert [type(body) for body in shipments.told()] == [ShippingScheduledEvent]
    assert shipments.asked == [BOOKING]


def test_a_cancellation_that_overtakes_its_confirmation_stops_it(shipments: Decider) -> None:
    shipments.tell(cancelled(3))
    shipments.tell(confirmed(2))
    assert shipments.told() == []
    assert shipments.asked == []
    assert status(shipments) == "cancelled"


def test_a_cancellation_of_an_order_never_confirmed_is_noted(shipments: Decider) -> None:
    shipments.tell(cancelled(2), cancelled(2))
    [row] = shipments.rows("SELECT order_id, customer_id, status, reason FROM shipment")
    assert row == (ORDER, CUSTOMER, "cancelled", "changed my mind")


def test_a_cancellation_while_booking_recalls_the_parcel_and_nothing_is_told(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.tell(cancelled())
    assert shipments.request(WITHDRAWAL) == WithdrawBooking(ORDER, CUSTOMER, "changed my mind")
    shipments.answer(BOOKING, ON_TIME)
    shipments.answer(WITHDRAWAL, BookingWithdrawn(ORDER))
    shipments.clock.skip(timedelta(days=1))
    assert shipments.fire() == 0
    assert shipments.told() == []
    assert status(shipments) == "cancelled"


def test_a_refusal_after_the_cancellation_changes_nothing(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.tell(cancelled())
    shipments.answer(BOOKING, BookingRefused(ORDER, "no pianos"))
    assert shipments.told() == []
    assert status(shipments) == "cancelled"


def test_a_cancellation_before_the_delivery_recalls_the_parcel(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.answer(BOOKING, ON_TIME)
    shipments.told()
    shipments.tell(cancelled())
    assert shipments.asked == [BOOKING, WITHDRAWAL]
    shipments.clock.skip(timedelta(days=1))
    assert shipments.fire() == 0
    assert shipments.told() == []
    assert status(shipments) == "cancelled"


def test_a_cancellation_after_the_delivery_is_noted_once_and_recalls_nothing(shipments: Decider) -> None:
    shipments.tell(confirmed())
    shipments.answer(BOOKING, ON_TIME)
    shipments.clock.skip(timedelta(days=1))
    shipments.fire()
    shipments.told()
    shipments.tell(cancelled())
    shipments.tell(cancelled())
    assert shipments.told() == []
    assert shipments.asked == [BOOKING]
    assert status(shipments) == "delivered"
    events = [kind for (kind,) in shipments.rows("SELECT type FROM event ORDER BY version")]
    assert events == ["BookingRequested", "Booked", "Delivered", "CancellationNoted"]


@pytest.mark.parametrize("standing", [each for each in Status if each not in (Status.SCHEDULED, Status.DELAYED)])
def test_a_delivery_that_fell_due_before_it_was_called_off_is_none(shipments: Decider, standing: Status) -> None:
    fired = TimerFired(f"delivery-{ORDER}", "delivery", ORDER, 1)
    states = {SHIPMENTS.stream(ORDER): Shipment(standing, ORDER, CUSTOMER)}
    assert DeliverParcel().decide(fired, states, Context(shipments.clock(), "id", ORDER)) == Decision()


def test_an_older_message_than_the_last_seen_does_nothing(shipments: Decider) -> None:
    shipments.tell(confirmed(5))
    shipments.tell(cancelled(4))
    assert status(shipments) == "booking"
    assert shipments.asked == [BOOKING]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (confirmed(order_id="order-1"), "order_id"),
        (confirmed(customer_id="somebody"), "customer_id"),
        (confirmed(total=-1), "total_amount.minor_units"),
        (confirmed(0), "sequence"),
        (confirmed(2, item(quantity=0)), "items[0].quantity"),
        (confirmed(2, item(price=-1)), "items[0].price.minor_units"),
        (OrderConfirmedEvent(order_id=ORDER), "items"),
    ],
)
def test_impossible_content_is_a_dead_letter_that_names_the_field(shipments: Decider, body: Protobuf, field: str) -> None:
    [result] = shipments.tell(body)
    assert field in str(result.error)
    assert shipments.told() == ["order.confirmed.dlt"]
    assert shipments.rows("SELECT order_id FROM shipment") == []


def test_a_delivery_waits_until_cancellations_that_came_in_time_are_read(config: Callable[..., Config]) -> None:
    own = parts(config(), metrics=CollectorRegistry())
    assert set(own.reply_topics) == {route_of(OrderCancelledEvent).topic}
    assert set(own.reply_topics) <= set(group_of("shipping").topics)
