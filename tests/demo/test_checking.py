"""The demo's checks find every way an order can have ended wrongly."""

from copy import deepcopy
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shop.analytics.v1.analytics_service_pb2 import GetSagaStatsResponse, GetSummaryResponse
from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.notification.v1 import notification_messages_pb2 as notices
from shop.notification.v1.notification_service_pb2 import Notification
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import Order
from shop.payment.v1.payment_service_pb2 import Payment
from shop.shipping.v1.shipping_service_pb2 import Shipment, ShipmentStatus
from shop.types.v1.money_pb2 import Money
from shopkit.demo.checking import holding_faults, order_faults
from shopkit.demo.holdings import Holdings
from shopkit.demo.scenarios import SCENARIOS, Scenario

LATE = Scenario(title="Late", story="", customer_id="c", items={"anvil": 2}, completes=True, delayed=True)
LOST = Scenario(title="Lost", story="", customer_id="c", items={"piano": 1}, completes=False)
PLAYED = {"late": LATE, "lost": LOST}
BEFORE = [Stock(item_id="anvil", on_hand=10), Stock(item_id="piano", on_hand=5, reserved=1)]


def eur(amount: int) -> Money:
    return Money(currency="EUR", minor_units=amount)


def told(order_id: str, kind: Any) -> Notification:
    return Notification(order_id=order_id, kind=kind, sent_at=Timestamp(seconds=1))


def right() -> Holdings:
    return Holdings(
        orders=[Order(order_id="late", total_amount=eur(200)), Order(order_id="lost", total_amount=eur(99))],
        payments=[
            Payment(order_id="late", charged=eur(200)),
            Payment(order_id="lost", charged=eur(99), refunded=eur(99)),
        ],
        stock=[Stock(item_id="anvil", on_hand=8, shipped=2), Stock(item_id="piano", on_hand=5, reserved=1)],
        shipments=[Shipment(order_id="late", status=ShipmentStatus.SHIPMENT_STATUS_DELIVERED)],
        notifications=[
            told("late", notices.NOTIFICATION_KIND_ORDER_CREATED),
            told("late", notices.NOTIFICATION_KIND_SHIPPING_DELAYED),
            told("late", notices.NOTIFICATION_KIND_SHIPPING_DELIVERED),
            told("lost", notices.NOTIFICATION_KIND_ORDER_CREATED),
            told("lost", notices.NOTIFICATION_KIND_ORDER_CANCELLED),
        ],
        summary=GetSummaryResponse(orders=2),
        stats=GetSagaStatsResponse(completed=1, cancelled=1),
    )


def test_what_is_as_it_has_to_be_has_no_fault() -> None:
    assert holding_faults(PLAYED, BEFORE, right()) == []


@pytest.mark.parametrize(
    ("part", "spoilt", "fault"),
    [
        ("payments", [], "Late: the payment service keeps 0 minor units, not 200"),
        (
            "payments",
            [Payment(order_id="late", charged=eur(200)), Payment(order_id="lost", charged=eur(99))],
            "Lost: the payment",
        ),
        ("stock", [Stock(item_id="anvil", on_hand=8, shipped=2)], "piano: on hand, reserved and shipped are (0, 0, 0)"),
        ("stock", [Stock(item_id="anvil", on_hand=8, reserved=2), BEFORE[1]], "anvil: on hand"),
        ("shipments", [], "Late: its shipment is unspecified"),
        ("notifications", [], "Late: the customer was not told shipping_delayed"),
        ("summary", GetSummaryResponse(orders=1), "analytics counts"),
        ("stats", GetSagaStatsResponse(running=1, completed=1), "analytics counts"),
    ],
)
def test_what_a_service_holds_wrongly_is_named(part: str, spoilt: Any, fault: str) -> None:
    holdings = deepcopy(right())
    faults = holding_faults(
        PLAYED, BEFORE, Holdings(**{name: getattr(holdings, name) for name in Holdings.__slots__} | {part: spoilt})
    )
    assert any(each.startswith(fault) for each in faults), faults


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (Order(status=OrderStatus.ORDER_STATUS_COMPLETED, delayed=True), []),
        (Order(status=OrderStatus.ORDER_STATUS_COMPLETED), ["Late: the order is not delayed"]),
        (
            Order(status=OrderStatus.ORDER_STATUS_CANCELLED, reason="lost", delayed=True),
            ["Late: the order is cancelled (lost), not completed"],
        ),
    ],
)
def test_an_order_that_ended_otherwise_is_named(order: Order, faults: list[str]) -> None:
    assert order_faults(LATE, order) == faults


def test_every_outcome_of_the_design_is_played() -> None:
    assert [each.title for each in SCENARIOS] == [
        "Happy path",
        "Declined payment",
        "Short stock",
        "Delayed shipping",
        "Carrier refuses",
        "Customer cancels",
    ]
