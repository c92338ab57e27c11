"""Where doubles are refused, an order has its customer and goods to itself until it is through, or has given no sign for long."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as Protobuf

from millrace.errors import Refused
from order_service.bootstrap import parts
from order_service.config import Config
from order_service.domain.commands import CancelOrder, PlaceOrder
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench, type_names

Placing = Callable[..., PlaceOrder]
Answers = Callable[[str], Mapping[str, Protobuf]]
MINUTE = timedelta(minutes=1)
LEASE = 15 * MINUTE


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def bench(request: pytest.FixtureRequest, config: Callable[..., Config]) -> Iterator[Bench]:
    url = "memory://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
    with Bench(parts(config(ORDER_REFUSE_DOUBLES="true")), url) as bench:
        yield bench


def place(bench: Bench, command: PlaceOrder) -> str:
    bench.order(command.order_id, command)
    return command.order_id


@pytest.mark.parametrize(
    "through", [("declined",), ("charged", "short", "refunded"), ("charged", "reserved", "scheduled", "shipped")], ids=" ".join
)
def test_the_same_order_under_another_key_is_refused_until_the_first_is_through(
    bench: Bench, placing: Placing, answers: Answers, through: tuple[str, ...]
) -> None:
    first = place(bench, placing("one"))
    for answer in through:
        bench.sent()
        with pytest.raises(Refused, match=f"order {first} is not through yet"):
            place(bench, placing("two"))
        assert bench.sent() == []
        bench.hear(answers(first)[answer])
    place(bench, placing("two"))
    assert "OrderCreatedEvent" in type_names(bench.sent())


def test_a_refused_double_leaves_nothing_behind(bench: Bench, placing: Placing) -> None:
    place(bench, placing("one"))
    before = bench.rows("SELECT stream, version, type FROM event ORDER BY position")
    with pytest.raises(Refused):
        place(bench, placing("two"))
    assert bench.rows("SELECT stream, version, type FROM event ORDER BY position") == before
    assert bench.rows("SELECT count(*) FROM order_view") == [(1,)]


def test_the_same_key_again_is_the_same_order(bench: Bench, placing: Placing) -> None:
    assert place(bench, placing("one")) == place(bench, placing("one"))


def test_other_goods_or_another_customers_are_no_double(bench: Bench, placing: Placing) -> None:
    place(bench, placing("one"))
    place(bench, replace(placing("two"), fingerprint="of other goods"))
    assert bench.rows("SELECT count(*) FROM order_view") == [(2,)]


def test_a_cancelled_order_makes_way_once_it_is_undone(bench: Bench, placing: Placing, answers: Answers) -> None:
    first = place(bench, placing("one"))
    bench.order(first, CancelOrder(first, "changed my mind"))
    with pytest.raises(Refused):
        place(bench, placing("two"))
    bench.hear(answers(first)["refunded"])
    place(bench, placing("two"))


def test_an_order_that_gave_no_sign_makes_way_and_is_undone_when_it_comes_back(
    bench: Bench, placing: Placing, answers: Answers
) -> None:
    first = place(bench, placing("one"))
    bench.clock.skip(LEASE - MINUTE)
    with pytest.raises(Refused):
        place(bench, placing("two"))
    bench.clock.skip(MINUTE)
    second = place(bench, placing("two"))
    bench.sent()
    bench.hear(answers(first)["charged"])
    assert type_names(bench.sent()) == ["RefundPaymentCommand"]
    bench.hear(answers(first)["refunded"], answers(second)["charged"])
    assert sorted(type_names(bench.sent())) == ["OrderCancelledEvent", "ReserveStockCommand"]
    [(reason,)] = bench.rows(f"SELECT document FROM order_view WHERE order_id = '{first}'")
    assert "was lost" in reason


def test_of_doubles_sent_at_once_one_is_taken(bench: Bench, items: Mapping[str, Protobuf]) -> None:
    bench.hear(*items.values())
    line = wire.OrderLine(item_id="mug", quantity=1, price=Money(currency="EUR", minor_units=899))

    async def run() -> tuple[list[Any], list[Any]]:
        async with bench.edge() as channel:
            stub: Any = OrderServiceStub(channel)
            requests = [
                wire.PlaceOrderRequest(
                    customer_id="6f3f0d52-4c7e-4f8e-9d53-0000000000c1", idempotency_key=f"key-{number}", items=[line]
                )
                for number in range(8)
            ]
            found = await asyncio.gather(*(stub.PlaceOrder(request) for request in requests), return_exceptions=True)
            placed = [answer.order_id for answer in found if isinstance(answer, wire.PlaceOrderResponse)]
            sagas = [(await stub.GetSaga(wire.GetSagaRequest(order_id=order_id))).saga for order_id in placed]
            return sagas, [answer.code() for answer in found if isinstance(answer, grpc.RpcError)]

    sagas, refused = asyncio.run(run())
    assert refused == [grpc.StatusCode.FAILED_PRECONDITION] * 7
    [[lock]] = [each.locks for each in sagas]
    assert (lock.resource.startswith("basket/"), lock.token) == (True, 1)
    assert lock.held_until.ToDatetime() == bench.clock().replace(tzinfo=None) + LEASE


def test_doubles_are_orders_like_others_unless_they_are_refused(config: Callable[..., Config], placing: Placing) -> None:
    with Bench(parts(config())) as bench:
        place(bench, placing("one"))
        place(bench, placing("two"))
        assert bench.rows("SELECT count(*) FROM stream WHERE id LIKE 'lock-%'") == [(0,)]


def test_an_order_under_way_goes_on_when_doubles_are_no_longer_refused(
    bench: Bench, config: Callable[..., Config], placing: Placing, answers: Answers
) -> None:
    first = place(bench, placing("one"))
    bench.use(parts(config()))
    bench.hear(*(answers(first)[answer] for answer in ("charged", "reserved", "scheduled", "shipped")))
    assert bench.rows("SELECT status FROM order_view") == [("completed",)]
    bench.use(parts(config(ORDER_REFUSE_DOUBLES="true")))
    place(bench, placing("two"))
