"""A faulty request gets the fitting code and the name of each field at fault; nothing is stored and nothing is sent."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc
import pytest

from devkit.stack import Stack, StackSettings
from millrace.edge.client import status_violations
from shop.order.v1.order_service_pb2 import (
    CancelOrderRequest,
    GetOrderRequest,
    ListOrdersRequest,
    OrderLine,
    PlaceOrderRequest,
)
from shop.payment.v1.payment_service_pb2 import SetGatewayRulesRequest
from shop.types.v1.money_pb2 import Money
from shopkit.testing.connection import ShopConnection, all_pages, code_of
from shopkit.testing.driver import Placed, order_line, request_for, wait_final, wait_settled
from shopkit.testing.outcomes import HAPPY
from shopkit.testing.records import count_all, topic_names

pytestmark = pytest.mark.servers

INVALID = grpc.StatusCode.INVALID_ARGUMENT
INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Running:
    stack: Stack
    shop: ShopConnection


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> Iterator[Running]:
    with Stack(StackSettings(folder=tmp_path_factory.mktemp("bad-requests"), env=quick_settings)) as stack:
        yield Running(stack, connect(stack))


def line(item_id: str = "teapot", quantity: int = 1, price: int = 2499, currency: str = "EUR") -> OrderLine:
    return OrderLine(item_id=item_id, quantity=quantity, price=Money(currency=currency, minor_units=price))


def request(*items: OrderLine, customer_id: str | None = None, key: str | None = None) -> PlaceOrderRequest:
    return PlaceOrderRequest(
        customer_id=str(uuid4()) if customer_id is None else customer_id,
        idempotency_key=str(uuid4()) if key is None else key,
        items=items,
    )


FAULTS: dict[str, tuple[PlaceOrderRequest, grpc.StatusCode, list[str]]] = {
    "no items": (request(), INVALID, ["items"]),
    "too many items": (request(*[line(f"item-{n}") for n in range(101)]), INVALID, ["items"]),
    "quantity of zero": (request(line(quantity=0)), INVALID, ["items[0].quantity"]),
    "negative quantity": (request(line(), line("mug", -1, 899)), INVALID, ["items[1].quantity"]),
    "mixed currencies": (request(line(), line("mug", 1, 899, "USD")), INVALID, ["items[1].price.currency"]),
    "no currency": (request(line(currency="")), INVALID, ["items[0].price.currency"]),
    "impossible currency": (request(line(currency="euro")), INVALID, ["items[0].price.currency"]),
    "negative money": (request(line(price=-1)), INVALID, ["items[0].price.minor_units"]),
    "overflowing money": (request(line(quantity=2, price=INT64_MAX)), INVALID, ["items"]),
    "overflowing sum": (request(line(price=INT64_MAX), line("mug", 1, 899)), INVALID, ["items"]),
    "another price": (request(line(price=1)), INVALID, ["items[0].price"]),
    "unknown item": (request(line("unicorn")), INVALID, ["items[0].item_id"]),
    "item twice": (request(line(), line()), INVALID, ["items[1].item_id"]),
    "no item id": (request(line("")), INVALID, ["items[0].item_id"]),
    "no UUID": (request(line(), customer_id="me"), INVALID, ["customer_id"]),
    "no customer": (request(line(), customer_id=""), INVALID, ["customer_id"]),
    "no key": (request(line(), key=""), INVALID, ["idempotency_key"]),
    "NUL in the key": (request(line(), key="a\0b"), INVALID, ["idempotency_key"]),
    "NUL in the item": (request(line("tea\0pot")), INVALID, ["items[0].item_id"]),
    "NUL in the customer": (request(line(), customer_id="\0"), INVALID, ["customer_id"]),
    "everything": (
        request(line(quantity=0, price=-1, currency=""), customer_id="x", key="\0"),
        INVALID,
        ["customer_id", "idempotency_key", "items[0].quantity", "items[0].price.currency", "items[0].price.minor_units"],
    ),
    "10 MB": (request(line("x" * 10_000_000)), grpc.StatusCode.RESOURCE_EXHAUSTED, []),
    "10 MB of keys": (request(line(), key="x" * 10_000_000), grpc.StatusCode.RESOURCE_EXHAUSTED, []),
    "a long key": (request(line(), key="x" * 1_000_000), INVALID, ["idempotency_key"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_order_is_refused_by_field_and_leaves_nothing_behind(running: Running, fault: str) -> None:
    faulty, code, fields = FAULTS[fault]
    orders = len(all_pages(running.shop.order.ListOrders, ListOrdersRequest(), lambda page: page.orders))
    sent = count_all(running.stack.bootstrap, [*topic_names(), *topic_names(dead_letters=True)])
    with pytest.raises(grpc.RpcError) as refused:
        running.shop.order.PlaceOrder(faulty, timeout=10)
    assert (code_of(refused.value), [each.field for each in status_violations(refused.value)]) == (code, fields)
    assert len(all_pages(running.shop.order.ListOrders, ListOrdersRequest(), lambda page: page.orders)) == orders
    assert count_all(running.stack.bootstrap, [*topic_names(), *topic_names(dead_letters=True)]) == sent


def test_bytes_that_are_no_request_are_refused(running: Running) -> None:
    with grpc.insecure_channel(running.stack.address("order")) as channel:
        call: Any = channel.unary_unary("/shop.order.v1.OrderService/PlaceOrder")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\xff\xfe garbage", timeout=10)
    assert code_of(refused.value) in {grpc.StatusCode.INTERNAL, INVALID}


def test_an_order_nobody_placed_is_not_found_and_an_id_that_is_none_is_invalid(running: Running) -> None:
    calls: list[tuple[Any, Any]] = [
        (running.shop.order.GetOrder, GetOrderRequest),
        (running.shop.order.CancelOrder, CancelOrderRequest),
    ]
    for call, wanted in calls:
        with pytest.raises(grpc.RpcError) as missing:
            call(wanted(order_id=str(uuid4())), timeout=10)
        assert code_of(missing.value) is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as refused:
            call(wanted(order_id="one"), timeout=10)
        assert code_of(refused.value) is INVALID
        assert [each.field for each in status_violations(refused.value)] == ["order_id"]


def test_the_gateways_rules_are_closed_outside_development(running: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        running.shop.payment.SetGatewayRules(SetGatewayRulesRequest(), timeout=10)
    assert code_of(refused.value) is grpc.StatusCode.PERMISSION_DENIED


def test_one_idempotency_key_places_one_order_also_at_the_same_time(running: Running) -> None:
    wanted = request_for(HAPPY)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: running.shop.order.PlaceOrder(wanted, timeout=10), range(8)))
    order_ids = {answer.order_id for answer in answers}
    assert len(order_ids) == 1
    wait_settled(running.shop, [Placed(order_ids.pop(), HAPPY)])
    again = running.shop.order.PlaceOrder(wanted, timeout=10)
    assert again.order_id == answers[0].order_id
    mine = ListOrdersRequest(customer_id=wanted.customer_id)
    assert len(all_pages(running.shop.order.ListOrders, mine, lambda page: page.orders)) == 1


def test_a_used_idempotency_key_with_another_payload_already_exists(running: Running) -> None:
    first = running.shop.order.PlaceOrder(wanted := request_for(HAPPY), timeout=10)
    other = request(order_line("mug", 1), customer_id=wanted.customer_id, key=wanted.idempotency_key)
    with pytest.raises(grpc.RpcError) as refused:
        running.shop.order.PlaceOrder(other, timeout=10)
    assert code_of(refused.value) is grpc.StatusCode.ALREADY_EXISTS
    somebody_else = request(order_line("mug", 1), key=wanted.idempotency_key)
    second = running.shop.order.PlaceOrder(somebody_else, timeout=10)
    assert second.order_id != first.order_id
    wait_final(running.shop, [Placed(first.order_id, HAPPY), Placed(second.order_id, HAPPY)])
