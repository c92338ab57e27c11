"""Inventory's calls over a real gRPC server: what they answer, and what bad input gets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from millrace.edge.client import status_violations
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent, ReserveStockCommand, StockLine
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench

EUR = Money(currency="EUR", minor_units=500)


def call(bench: Bench, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with bench.edge() as channel:
            return await scenario(InventoryServiceStub(channel))

    return asyncio.run(run())


def refusal(bench: Bench, method: str, request: Any) -> tuple[str, list[str]]:
    async def scenario(stub: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(request)
        return caught.value

    error = call(bench, scenario)
    return error.code().name, [violation.field for violation in status_violations(error)]


def test_set_stock_sets_what_is_on_hand_and_leaves_what_is_reserved(bench: Bench) -> None:
    bench.hear(ReserveStockCommand(order_id=str(uuid4()), items=[StockLine(item_id="mug", quantity=4)]))

    async def scenario(stub: Any) -> Any:
        set_ = await stub.SetStock(pb.SetStockRequest(item_id="mug", on_hand=50))
        got = await stub.GetStock(pb.GetStockRequest(item_id="mug"))
        assert set_.stock == got.stock
        return got.stock

    stock = call(bench, scenario)
    assert (stock.on_hand, stock.reserved, stock.shipped) == (50, 4, 0)


def test_a_changed_item_is_told_with_a_sequence_without_gaps_and_an_unchanged_one_is_not(bench: Bench) -> None:
    async def scenario(stub: Any) -> Any:
        for name in ("Cup", "Cup", "Large cup"):
            answer = await stub.SetItem(pb.SetItemRequest(item_id="cup", name=name, price=EUR, active=True))
        return answer.item

    item = call(bench, scenario)
    told = [message.body(ItemChangedEvent) for message in bench.sent()]
    assert [(change.name, change.sequence) for change in told] == [("Cup", 1), ("Large cup", 2)]
    assert (item.name, item.sequence, item.price) == ("Large cup", 2, EUR)


def test_lists_come_in_pages(bench: Bench) -> None:
    async def scenario(stub: Any) -> Any:
        await stub.SetItem(pb.SetItemRequest(item_id="attic", name="Attic", price=EUR, active=False))
        first = await stub.ListItems(pb.ListItemsRequest(page_size=2))
        second = await stub.ListItems(pb.ListItemsRequest(page_size=2, page_token=first.next_page_token))
        stock = await stub.ListStock(pb.ListStockRequest())
        active = await stub.ListItems(pb.ListItemsRequest(active_only=True))
        return [[item.item_id for item in page] for page in (first.items, second.items, stock.stock, active.items)]

    assert call(bench, scenario) == [
        ["attic", "mug"],
        ["rare-vase"],
        ["attic", "mug", "rare-vase"],
        ["mug", "rare-vase"],
    ]


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_a_reservation_is_shown_however_its_order_is_spelled(bench: Bench, spelling: Callable[[str], str]) -> None:
    order_id = str(uuid4())
    bench.hear(ReserveStockCommand(order_id=order_id, items=[StockLine(item_id="mug", quantity=4)]))

    async def scenario(stub: Any) -> Any:
        return (await stub.GetReservation(pb.GetReservationRequest(order_id=spelling(order_id)))).reservation

    found = call(bench, scenario)
    assert (found.order_id, found.status) == (order_id, pb.RESERVATION_STATUS_RESERVED)
    assert [(line.item_id, line.quantity) for line in found.lines] == [("mug", 4)]


@pytest.mark.parametrize(
    ("method", "request_", "code", "fields"),
    [
        ("GetStock", pb.GetStockRequest(item_id="unicorn"), "NOT_FOUND", []),
        ("GetStock", pb.GetStockRequest(item_id="a\x00b"), "INVALID_ARGUMENT", ["item_id"]),
        ("SetStock", pb.SetStockRequest(item_id="unicorn", on_hand=1), "NOT_FOUND", []),
        ("SetStock", pb.SetStockRequest(item_id="", on_hand=-1), "INVALID_ARGUMENT", ["item_id", "on_hand"]),
        ("SetStock", pb.SetStockRequest(item_id="mug", on_hand=2**63 - 1), "INVALID_ARGUMENT", ["on_hand"]),
        ("SetItem", pb.SetItemRequest(), "INVALID_ARGUMENT", ["item_id", "name", "price"]),
        (
            "SetItem",
            pb.SetItemRequest(item_id="x", name="x", price=Money(currency="euro", minor_units=-1)),
            "INVALID_ARGUMENT",
            ["price.currency", "price.minor_units"],
        ),
        ("ListStock", pb.ListStockRequest(page_size=-1, page_token="%"), "INVALID_ARGUMENT", ["page_size", "page_token"]),
        ("ListItems", pb.ListItemsRequest(page_size=-1), "INVALID_ARGUMENT", ["page_size"]),
        ("GetReservation", pb.GetReservationRequest(order_id="7"), "INVALID_ARGUMENT", ["order_id"]),
        ("GetReservation", pb.GetReservationRequest(order_id=str(uuid4())), "NOT_FOUND", []),
    ],
)
def test_bad_input_is_refused_by_field(bench: Bench, method: str, request_: Any, code: str, fields: list[str]) -> None:
    assert refusal(bench, method, request_) == (code, fields)
    assert bench.sent() == []
