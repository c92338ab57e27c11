"""What stock, items, payments, shipments, notifications, contacts, saga and summary show of what services hold."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from shop.analytics.v1 import analytics_service_pb2 as analytics
from shop.inventory.v1 import inventory_service_pb2 as inventory
from shop.notification.v1 import notification_messages_pb2 as notices
from shop.notification.v1 import notification_service_pb2 as notification
from shop.order.v1 import order_service_pb2 as orders
from shop.order.v1.order_messages_pb2 import ORDER_STATUS_COMPLETED
from shop.payment.v1 import payment_service_pb2 as payment
from shop.shipping.v1 import shipping_service_pb2 as shipping
from shop.types.v1.money_pb2 import Money

ORDER = "5f1c6c1e-6df1-5b3f-9d0c-3a4d1c1f2b60"
CUSTOMER = "00000000-0000-4000-8000-000000000001"
EUR = Money(currency="EUR", minor_units=4998)
STOCK = inventory.Stock(item_id="rare-vase", on_hand=2, reserved=1, shipped=7)
ITEM = inventory.Item(item_id="rare-vase", name="Rare vase", price=Money(currency="JPY", minor_units=19999), active=True)
PAYMENT = payment.Payment(order_id=ORDER, amount=EUR, charged=EUR, status=payment.PAYMENT_STATUS_CHARGED)
SHIPMENT = shipping.Shipment(order_id=ORDER, status=shipping.SHIPMENT_STATUS_DELAYED, tracking_number="MR-17", reason="heavy")
NOTICE = notification.Notification(
    order_id=ORDER, kind=notices.NOTIFICATION_KIND_SHIPPING_DELAYED, channel=notices.NOTIFICATION_CHANNEL_EMAIL, subject="Late"
)
CONTACT = notification.Contact(customer_id=CUSTOMER, email="ada@example.com", name="Ada")
SAGA = orders.Saga(
    order_id=ORDER,
    status=orders.SAGA_STATUS_COMPENSATED,
    steps=[
        orders.SagaStep(
            name="reserve_stock",
            state=orders.SAGA_STEP_STATE_REFUSED,
            attempts=2,
            requested_at=Timestamp(seconds=1_800_000_000),
            detail="rare-vase: 3 asked, 2 there",
        )
    ],
    locks=[orders.SagaLock(resource="basket/17", token=41, held_until=Timestamp(seconds=1_800_000_900))],
)


@pytest.mark.parametrize(
    ("words", "answers", "shown"),
    [
        (("stock", "list"), {"ListStock": inventory.ListStockResponse(stock=[STOCK])}, ["rare-vase", "2", "1", "7"]),
        (("stock", "set", "rare-vase", "2"), {"SetStock": inventory.SetStockResponse(stock=STOCK)}, ["rare-vase", "2"]),
        (("items", "list"), {"ListItems": inventory.ListItemsResponse(items=[ITEM])}, ["Rare vase", "19999 JPY", "yes"]),
        (
            ("items", "set", "rare-vase", "--name", "Rare vase", "--price", "19999JPY"),
            {"SetItem": inventory.SetItemResponse(item=ITEM)},
            ["Rare vase", "19999 JPY"],
        ),
        (
            ("payments", "list"),
            {"ListPayments": payment.ListPaymentsResponse(payments=[PAYMENT])},
            [ORDER, "charged", "49.98 EUR"],
        ),
        (("payments", "get", ORDER), {"GetPayment": payment.GetPaymentResponse(payment=PAYMENT)}, [ORDER, "charged"]),
        (("shipments", "list"), {"ListShipments": shipping.ListShipmentsResponse(shipments=[SHIPMENT])}, ["delayed", "MR-17"]),
        (("shipments", "get", ORDER), {"GetShipment": shipping.GetShipmentResponse(shipment=SHIPMENT)}, ["delayed", "heavy"]),
        (
            ("notifications", "list"),
            {"ListNotifications": notification.ListNotificationsResponse(notifications=[NOTICE])},
            [ORDER, "shipping_delayed", "email", "Late"],
        ),
        (
            ("contacts", "set", CUSTOMER, "--email", "ada@example.com", "--name", "Ada"),
            {"SetContact": notification.SetContactResponse(contact=CONTACT)},
            [CUSTOMER, "Ada", "ada@example.com"],
        ),
        (("contacts", "get", CUSTOMER), {"GetContact": notification.GetContactResponse(contact=CONTACT)}, ["Ada"]),
        (
            ("saga", "show", ORDER),
            {"GetSaga": orders.GetSagaResponse(saga=SAGA)},
            ["compensated", "reserve_stock", "refused", "08:00:00.000", "3 asked, 2 there", "basket/17", "41"],
        ),
    ],
)
def test_the_table_holds_what_the_service_answered(
    shop: Any, millrace: Callable[..., Any], words: tuple[str, ...], answers: dict[str, Any], shown: list[str]
) -> None:
    shop.answers = answers
    result = millrace(*words)
    assert result.exit_code == 0, result.output
    assert [text for text in shown if text not in result.stdout] == [], result.stdout
    assert [name for name, _ in shop.asked] == list(answers)


def test_what_is_set_reaches_the_service(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {
        "SetStock": inventory.SetStockResponse(stock=STOCK),
        "SetItem": inventory.SetItemResponse(item=ITEM),
        "SetContact": notification.SetContactResponse(contact=CONTACT),
    }
    millrace("stock", "set", "rare-vase", "5")
    millrace("items", "set", "mug", "--name", "Mug", "--price", "899EUR", "--not-sold")
    millrace("contacts", "set", CUSTOMER, "--email", "ada@example.com", "--name", "Ada")
    assert [request for _, request in shop.asked] == [
        inventory.SetStockRequest(item_id="rare-vase", on_hand=5),
        inventory.SetItemRequest(item_id="mug", name="Mug", price=Money(currency="EUR", minor_units=899), active=False),
        notification.SetContactRequest(customer_id=CUSTOMER, email="ada@example.com", name="Ada"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("stock", "set", "mug", "many"),
        ("stock", "set", "mug", "9223372036854775808"),
        ("items", "set", "mug", "--name", "Mug", "--price", "8.99EUR"),
    ],
)
def test_a_figure_that_is_none_is_refused_before_any_call(
    shop: Any, millrace: Callable[..., Any], words: tuple[str, ...]
) -> None:
    assert millrace(*words).exit_code == 2
    assert not shop.asked


def test_lists_for_machines_are_lists(shop: Any, millrace_json: Callable[..., Any]) -> None:
    shop.answers = {
        "ListPayments": payment.ListPaymentsResponse(payments=[PAYMENT]),
        "ListStock": inventory.ListStockResponse(),
        "ListShipments": shipping.ListShipmentsResponse(shipments=[SHIPMENT]),
        "ListNotifications": notification.ListNotificationsResponse(notifications=[NOTICE]),
    }
    assert millrace_json("payments", "list", "--status", "charged")[0]["charged"] == {"currency": "EUR", "minor_units": "4998"}
    assert millrace_json("stock", "list") == []
    assert millrace_json("shipments", "list")[0]["status"] == "SHIPMENT_STATUS_DELAYED"
    assert millrace_json("notifications", "list", "--order", ORDER)[0]["subject"] == "Late"
    assert shop.requests("ListPayments")[0].status == payment.PAYMENT_STATUS_CHARGED
    assert shop.requests("ListNotifications")[0].order_id == ORDER


def test_the_summary_joins_counts_and_durations(
    shop: Any, millrace: Callable[..., Any], millrace_json: Callable[..., Any]
) -> None:
    shop.answers = {
        "GetSummary": analytics.GetSummaryResponse(
            orders_by_status=[analytics.StatusCount(status=ORDER_STATUS_COMPLETED, orders=3)],
            orders=5,
            completed_amounts=[EUR, Money(currency="JPY", minor_units=12)],
        ),
        "GetSagaStats": analytics.GetSagaStatsResponse(
            completed=3,
            duration_p50=Duration(nanos=412_000_000),
            cancel_reasons=[analytics.ReasonCount(reason="card declined", orders=2)],
        ),
    }
    result = millrace("summary")
    assert result.exit_code == 0, result.output
    for text in ("orders completed", "49.98 EUR, 12 JPY", "0.412 s", "cancelled: card declined"):
        assert text in result.stdout
    assert millrace_json("summary")["saga_stats"]["completed"] == "3"


def test_control_characters_of_a_stored_name_never_reach_the_terminal(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"GetContact": notification.GetContactResponse(contact=notification.Contact(name="\x1b]0;owned\x07Eve"))}
    shown = millrace("contacts", "get", CUSTOMER).stdout
    assert "Eve" in shown
    assert "\x1b" not in shown
