"""`millrace orders` places, shows, lists, cancels and watches orders."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from millrace.errors import Unavailable
from shop.inventory.v1.inventory_service_pb2 import Item, ListItemsResponse
from shop.order.v1 import order_service_pb2 as rpc
from shop.order.v1.order_messages_pb2 import OrderItem, OrderStatus
from shop.types.v1.money_pb2 import Money

ORDER = "5f1c6c1e-6df1-5b3f-9d0c-3a4d1c1f2b60"
CUSTOMER = "00000000-0000-4000-8000-000000000001"


def order(status: "OrderStatus.ValueType" = OrderStatus.ORDER_STATUS_PENDING, **fields: Any) -> rpc.Order:
    known: dict[str, Any] = {
        "order_id": ORDER,
        "customer_id": CUSTOMER,
        "items": [OrderItem(item_id="teapot", name="Teapot", quantity=2, price=Money(currency="EUR", minor_units=2499))],
        "total_amount": Money(currency="EUR", minor_units=4998),
        "created_at": Timestamp(seconds=1_800_000_000),
        "updated_at": Timestamp(seconds=1_800_000_000, nanos=250_000_000),
    }
    return rpc.Order(status=status, **{**known, **fields})


def catalogue(request: Any) -> ListItemsResponse:
    """Answer in two pages, as a big catalogue would."""
    price = Money(currency="EUR", minor_units=2499)
    if request.page_token == "":
        return ListItemsResponse(items=[Item(item_id="kettle", price=price)], next_page_token="more")
    return ListItemsResponse(items=[Item(item_id="teapot", name="Teapot", price=price, active=True)])


def test_an_order_is_placed_at_the_catalogues_price(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"ListItems": catalogue, "PlaceOrder": rpc.PlaceOrderResponse(order_id=ORDER, order=order())}
    result = millrace("orders", "place", "--customer", CUSTOMER, "--item", "teapot:2", "--item", "kettle:1", "--key", "k1")
    assert result.exit_code == 0, result.output
    (request,) = shop.requests("PlaceOrder")
    assert (request.customer_id, request.idempotency_key) == (CUSTOMER, "k1")
    assert [(line.item_id, line.quantity, line.price.minor_units) for line in request.items] == [
        ("teapot", 2, 2499),
        ("kettle", 1, 2499),
    ]
    assert ORDER in result.stdout
    assert "49.98 EUR" in result.stdout
    assert f"millrace orders watch {ORDER}" in result.stdout


def test_each_order_without_a_key_gets_one_of_its_own(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"ListItems": catalogue, "PlaceOrder": rpc.PlaceOrderResponse(order_id=ORDER, order=order())}
    for _ in range(2):
        assert millrace("orders", "place", "--customer", CUSTOMER, "--item", "teapot:1").exit_code == 0
    keys = {request.idempotency_key for request in shop.requests("PlaceOrder")}
    assert len(keys) == 2
    assert all(keys)


def test_an_item_that_is_not_in_the_catalogue_is_named(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"ListItems": catalogue}
    result = millrace("orders", "place", "--customer", CUSTOMER, "--item", "unicorn:1")
    assert result.exit_code == 1
    assert result.stderr == "error: there is no item 'unicorn'; `millrace items list` shows what there is\n"
    assert not shop.requests("PlaceOrder")


@pytest.mark.parametrize("text", ["teapot", "teapot:", ":2", "teapot:two", "teapot:99999999999"])
def test_an_item_without_a_quantity_is_refused_before_any_call(shop: Any, millrace: Callable[..., Any], text: str) -> None:
    result = millrace("orders", "place", "--customer", CUSTOMER, "--item", text)
    assert result.exit_code == 2
    assert "id:quantity" in result.stderr
    assert not shop.asked


def test_one_order_is_shown(shop: Any, millrace: Callable[..., Any], millrace_json: Callable[..., Any]) -> None:
    reason = "card [red]declined[/red]"
    shop.answers = {"GetOrder": rpc.GetOrderResponse(order=order(OrderStatus.ORDER_STATUS_CANCELLED, reason=reason))}
    shown = millrace("orders", "get", ORDER).stdout
    assert "cancelled" in shown
    assert reason in shown
    answer = millrace_json("orders", "get", ORDER)
    assert (answer["status"], answer["total_amount"]["minor_units"]) == ("ORDER_STATUS_CANCELLED", "4998")


def test_orders_are_listed_with_filters_up_to_the_limit(shop: Any, millrace_json: Callable[..., Any]) -> None:
    shop.answers = {
        "ListOrders": lambda request: rpc.ListOrdersResponse(orders=[order()] * request.page_size, next_page_token="next")
    }
    listed = millrace_json("orders", "list", "--customer", CUSTOMER, "--status", "pending", "--limit", "501")
    assert len(listed) == 501
    first, second = shop.requests("ListOrders")
    assert (first.customer_id, first.status, first.page_size, first.page_token) == (CUSTOMER, 1, 500, "")
    assert (second.page_size, second.page_token) == (1, "next")


def test_a_status_nobody_knows_is_answered_with_those_there_are(shop: Any, millrace: Callable[..., Any]) -> None:
    result = millrace("orders", "list", "--status", "lost")
    assert result.exit_code == 2
    assert "pending, confirmed, cancelling" in result.stderr


def test_a_cancellation_carries_its_reason(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"CancelOrder": rpc.CancelOrderResponse(order=order(OrderStatus.ORDER_STATUS_CANCELLING))}
    result = millrace("orders", "cancel", ORDER, "--reason", "changed my mind")
    assert result.exit_code == 0
    assert "cancelling" in result.stdout
    assert shop.requests("CancelOrder")[0].reason == "changed my mind"


def watched() -> list[rpc.WatchOrderResponse]:
    charge = rpc.SagaStep(name="charge_payment", state=rpc.SAGA_STEP_STATE_REQUESTED, attempts=1)
    charge.requested_at.CopyFrom(Timestamp(seconds=1_800_000_000, nanos=10_000_000))
    done = rpc.SagaStep()
    done.CopyFrom(charge)
    done.state = rpc.SAGA_STEP_STATE_DONE
    done.finished_at.CopyFrom(Timestamp(seconds=1_800_000_000, nanos=200_000_000))
    return [
        rpc.WatchOrderResponse(order=order(), saga=rpc.Saga(steps=[charge])),
        rpc.WatchOrderResponse(order=order(), saga=rpc.Saga(steps=[charge])),
        rpc.WatchOrderResponse(order=order(OrderStatus.ORDER_STATUS_COMPLETED, delayed=True), saga=rpc.Saga(steps=[done])),
    ]


def test_a_watched_order_is_told_once_for_each_change_until_it_is_final(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"WatchOrder": watched()}
    result = millrace("orders", "watch", ORDER)
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["+0.000", "s", "order", "pending"],
        ["+0.010", "s", "charge_payment", "requested"],
        ["+0.200", "s", "charge_payment", "done"],
        ["+0.250", "s", "order", "completed", "delayed"],
    ]


def test_a_watch_for_machines_is_one_object_a_line(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {"WatchOrder": watched()}
    lines = millrace("orders", "watch", ORDER, "--json").stdout.splitlines()
    assert [json.loads(line)["order"]["status"] for line in lines] == ["ORDER_STATUS_PENDING"] * 2 + ["ORDER_STATUS_COMPLETED"]


def test_placing_can_go_on_to_watching(shop: Any, millrace: Callable[..., Any]) -> None:
    shop.answers = {
        "ListItems": catalogue,
        "PlaceOrder": rpc.PlaceOrderResponse(order_id=ORDER, order=order()),
        "WatchOrder": watched(),
    }
    result = millrace("orders", "place", "--customer", CUSTOMER, "--item", "teapot:2", "--watch")
    assert result.exit_code == 0, result.output
    assert "completed" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("ending", "complaint"),
    [([], "before order"), ([Unavailable("the database is away")], "UNAVAILABLE: the database is away")],
)
def test_a_watch_that_ends_early_is_a_failure(
    shop: Any, millrace: Callable[..., Any], ending: list[Exception], complaint: str
) -> None:
    shop.answers = {"WatchOrder": [*watched()[:1], *ending]}
    result = millrace("orders", "watch", ORDER)
    assert result.exit_code == 1
    assert complaint in result.stderr
