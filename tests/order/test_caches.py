"""What the edge remembers is never older than what it was told of: items until they change, orders once they are final."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.cache import Cache
from order_service.adapters.catalogue import StoredCatalogue
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.commands import CancelOrder, PlaceOrder
from order_service.domain.order import Money
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1 import order_messages_pb2 as messages
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1 import money_pb2
from shopkit.testing.bench import Bench

Answers = Callable[[str], Mapping[str, Protobuf]]
FORGED = "UPDATE order_view SET document = replace(document, 'Mug', 'Jug')"


def call(bench: Bench, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with bench.edge() as channel:
            return await scenario(OrderServiceStub(channel))

    return asyncio.run(run())


def item(price: int, sequence: int) -> CatalogueItem:
    return CatalogueItem("mug", "Mug", Money("EUR", price), True, sequence)


class Reads:
    """Stands for `Queries`: answers one read after another, each once `meanwhile` has run."""

    def __init__(self, *answers: CatalogueItem, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.left = list(answers)
        self._meanwhile = meanwhile

    async def run(self, _: object) -> dict[str, CatalogueItem]:
        found = self.left.pop(0)
        self._meanwhile()
        return {found.item_id: found}


def find(catalogue: StoredCatalogue) -> int:
    return asyncio.run(catalogue.find(["mug"]))["mug"].price.minor_units


def test_an_item_is_read_once_until_it_changes() -> None:
    cache: Cache[str, CatalogueItem] = Cache("test", most=10, keep_seconds=3600)
    reads: Any = Reads(item(899, 1), item(950, 2))
    catalogue = StoredCatalogue(reads, cache)
    assert [find(catalogue), find(catalogue), len(reads.left)] == [899, 899, 1]
    cache.changed("mug", 2)
    assert [find(catalogue), find(catalogue), len(reads.left)] == [950, 950, 0]


def test_an_item_that_changed_while_it_was_read_or_is_not_in_the_store_yet_is_not_remembered() -> None:
    cache: Cache[str, CatalogueItem] = Cache("test", most=10, keep_seconds=3600)
    reads: Any = Reads(item(899, 1), item(899, 1), item(950, 2), meanwhile=lambda: cache.changed("mug", 2))
    catalogue = StoredCatalogue(reads, cache)
    assert [find(catalogue) for _ in range(4)] == [899, 899, 950, 950]
    assert reads.left == []


def test_a_new_price_holds_from_the_moment_it_is_known(bench: Bench) -> None:
    def order(price: int, key: str) -> wire.PlaceOrderRequest:
        line = wire.OrderLine(item_id="mug", quantity=1, price=money_pb2.Money(currency="EUR", minor_units=price))
        return wire.PlaceOrderRequest(customer_id="6f3f0d52-4c7e-4f8e-9d53-0000000000c1", idempotency_key=key, items=[line])

    def tell(price: int, sequence: int) -> None:
        money = money_pb2.Money(currency="EUR", minor_units=price)
        bench.hear(ItemChangedEvent(item_id="mug", name="Mug", price=money, active=True, sequence=sequence))

    async def scenario(stub: Any) -> list[int]:
        prices = []
        for sequence, price in enumerate((899, 950, 700), start=1):
            tell(price, sequence)
            for again in range(2):
                answer = await stub.PlaceOrder(order(price, f"{price} {again}"))
                prices.append(answer.order.total_amount.minor_units)
        return prices

    assert call(bench, scenario) == [899, 899, 950, 950, 700, 700]


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (["declined"], messages.ORDER_STATUS_CANCELLED),
        (["charged", "reserved", "scheduled"], messages.ORDER_STATUS_COMPLETED),
        (["charged", "reserved", "delayed"], messages.ORDER_STATUS_COMPLETED),
    ],
    ids=["cancelled", "completed", "completed late"],
)
def test_a_final_order_is_read_once_and_nothing_changes_it_any_more(
    bench: Bench, placing: Callable[..., PlaceOrder], answers: Answers, before: list[str], status: Any
) -> None:
    command = placing()
    bench.order(command.order_id, command)
    told = answers(command.order_id)
    bench.hear(*(told[name] for name in before))
    documents = bench.rows("SELECT document FROM order_view")

    async def scenario(stub: Any) -> list[wire.Order]:
        seen = []
        for _ in range(2):
            seen.append((await stub.GetOrder(wire.GetOrderRequest(order_id=command.order_id))).order)
            bench.rows(f"{FORGED} RETURNING order_id")
        return seen

    first, second = call(bench, scenario)
    assert (first.status, second) == (status, first)
    bench.rows("UPDATE order_view SET document = replace(document, 'Jug', 'Mug') RETURNING order_id")
    bench.hear(*told.values())
    assert bench.rows("SELECT document FROM order_view") == documents


def test_an_order_under_way_is_read_anew_each_time(bench: Bench, placing: Callable[..., PlaceOrder], answers: Answers) -> None:
    command = placing()
    bench.order(command.order_id, command)

    async def scenario(stub: Any) -> list[int]:
        async def status() -> int:
            order: wire.Order = (await stub.GetOrder(wire.GetOrderRequest(order_id=command.order_id))).order
            return order.status

        seen = [await status()]
        bench.hear(answers(command.order_id)["charged"])
        bench.order(command.order_id, CancelOrder(command.order_id, "changed my mind"))
        seen.append(await status())
        bench.hear(answers(command.order_id)["released"], answers(command.order_id)["refunded"])
        return [*seen, await status()]

    assert call(bench, scenario) == [
        messages.ORDER_STATUS_PENDING,
        messages.ORDER_STATUS_CANCELLING,
        messages.ORDER_STATUS_CANCELLED,
    ]
