"""ListOrders and WatchOrder over a real server."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as Protobuf

from millrace.edge.client import status_violations
from order_service.domain.commands import CancelOrder, PlaceOrder
from shop.order.v1 import order_messages_pb2 as messages
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shopkit.testing.bench import Bench

Answers = Callable[[str], Mapping[str, Protobuf]]
ADA, BOB = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1", "6f3f0d52-4c7e-4f8e-9d53-0000000000c2"


def call(bench: Bench, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with bench.edge() as channel:
            return await scenario(OrderServiceStub(channel))

    return asyncio.run(run())


def listed(bench: Bench, **fields: Any) -> list[str]:
    """Return the ids of every page, each page of two."""

    async def scenario(stub: Any) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await stub.ListOrders(wire.ListOrdersRequest(page_size=2, page_token=token, **fields))
            assert len(page.orders) <= 2
            found += [order.order_id for order in page.orders]
            token = page.next_page_token
            if not token:
                return found

    found: list[str] = call(bench, scenario)
    return found


@pytest.fixture
def placed(bench: Bench, placing: Callable[..., PlaceOrder]) -> list[str]:
    """Place five orders, Ada's and Bob's in turn, the first two at the same moment; return their ids."""
    found = []
    for number in range(5):
        command = placing(f"key {number}", ADA if number % 2 == 0 else BOB)
        bench.order(command.order_id, command)
        if number:
            bench.clock.skip(timedelta(seconds=1))
        found.append(command.order_id)
    return found


def test_orders_are_listed_newest_first_page_by_page(bench: Bench, placed: list[str]) -> None:
    assert listed(bench) == [placed[4], placed[3], placed[2], *sorted(placed[:2], reverse=True)]


def test_a_list_can_be_limited_to_a_customer_however_spelled(bench: Bench, placed: list[str]) -> None:
    assert listed(bench, customer_id=BOB.upper()) == [placed[3], placed[1]]


def test_a_list_can_be_limited_to_a_status_and_to_both(bench: Bench, placed: list[str], answers: Answers) -> None:
    for order_id in placed[1:4]:
        bench.hear(answers(order_id)["declined"])
    assert listed(bench, status=messages.ORDER_STATUS_CANCELLED) == [placed[3], placed[2], placed[1]]
    assert listed(bench, status=messages.ORDER_STATUS_CANCELLED, customer_id=ADA) == [placed[2]]
    assert set(listed(bench, status=messages.ORDER_STATUS_PENDING)) == {placed[0], placed[4]}
    assert listed(bench, status=messages.ORDER_STATUS_COMPLETED) == []


def test_an_order_placed_between_two_pages_moves_none_of_the_rest(
    bench: Bench, placed: list[str], placing: Callable[..., PlaceOrder]
) -> None:
    async def scenario(stub: Any) -> list[str]:
        first = await stub.ListOrders(wire.ListOrdersRequest(page_size=3))
        command = placing("in between")
        bench.order(command.order_id, command)
        rest = await stub.ListOrders(wire.ListOrdersRequest(page_size=3, page_token=first.next_page_token))
        assert rest.next_page_token == ""
        return [order.order_id for order in (*first.orders, *rest.orders)]

    assert sorted(call(bench, scenario)) == sorted(placed)


def test_an_order_is_shown_though_its_sagas_snapshot_is_damaged(bench: Bench, placed: list[str]) -> None:
    async def saga(stub: Any) -> wire.GetSagaResponse:
        found: wire.GetSagaResponse = await stub.GetSaga(wire.GetSagaRequest(order_id=placed[0]))
        return found

    before = call(bench, saga)
    bench.rows("UPDATE stream SET state = 'damaged' WHERE id LIKE 'saga-%'")
    assert call(bench, saga) == before


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (wire.ListOrdersRequest(customer_id="7", page_size=-1, page_token="?"), ["customer_id", "page_size", "page_token"]),
        (wire.ListOrdersRequest(page_token="eA=="), ["page_token"]),
    ],
)
def test_bad_input_is_refused_by_field(bench: Bench, request_: wire.ListOrdersRequest, fields: list[str]) -> None:
    async def scenario(stub: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListOrders(request_)
        return caught.value

    error = call(bench, scenario)
    assert (error.code().name, [v.field for v in status_violations(error)]) == ("INVALID_ARGUMENT", fields)


def test_watching_shows_an_order_now_at_each_change_and_ends_with_its_saga(
    bench: Bench, placed: list[str], answers: Answers
) -> None:
    order_id = placed[0]

    async def scenario(stub: Any) -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        steps = iter(["charged", "reserved", "scheduled", "shipped"])
        async for shown in stub.WatchOrder(wire.WatchOrderRequest(order_id=order_id.upper())):
            done = [step.name for step in shown.saga.steps if step.state == wire.SAGA_STEP_STATE_DONE]
            seen.append((messages.OrderStatus.Name(shown.order.status).removeprefix("ORDER_STATUS_"), ",".join(done)))
            for name in [next(steps, "")]:
                if name:
                    bench.hear(answers(order_id)[name])
        return seen

    assert call(bench, scenario) == [
        ("PENDING", ""),
        ("PENDING", "payment"),
        ("CONFIRMED", "payment,stock"),
        ("COMPLETED", "payment,stock,shipping"),
        ("COMPLETED", "payment,stock,shipping,dispatch"),
    ]


def test_watching_a_finished_order_shows_it_once(bench: Bench, placed: list[str], answers: Answers) -> None:
    bench.order(placed[0], CancelOrder(placed[0], "why not"))
    bench.hear(answers(placed[0])["refunded nothing"])

    async def scenario(stub: Any) -> list[int]:
        return [shown.order.status async for shown in stub.WatchOrder(wire.WatchOrderRequest(order_id=placed[0]))]

    assert call(bench, scenario) == [messages.ORDER_STATUS_CANCELLED]


@pytest.mark.parametrize("method", ["GetOrder", "GetSaga", "CancelOrder"])
def test_an_order_that_nobody_placed_is_not_found(bench: Bench, method: str) -> None:
    async def scenario(stub: Any) -> str:
        request = getattr(wire, f"{method}Request")(order_id=ADA)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(request)
        return str(caught.value.code().name)

    assert call(bench, scenario) == "NOT_FOUND"
