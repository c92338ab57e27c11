"""Plays one scenario: places its order, tells its saga step by step, and returns how it ended."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Final

import grpc
from rich.console import Console
from rich.text import Text

from millrace.cli.failures import CommandFailed
from millrace.edge.client import status_violations
from shop.inventory.v1.inventory_service_pb2 import ListItemsRequest
from shop.order.v1.order_service_pb2 import CancelOrderRequest, Order, OrderLine, PlaceOrderRequest, WatchOrderRequest
from shop.types.v1.money_pb2 import Money
from shopkit.clients import Shop, read_pages
from shopkit.demo.scenarios import Scenario
from shopkit.show.lines import happening_line
from shopkit.show.progress import OrderProgress

_WATCH_SECONDS: Final = 60.0
_CATALOGUE_SECONDS: Final = 20.0


async def read_prices(shop: Shop) -> dict[str, Money]:
    """Return the price of every item."""
    async with shop.inventory() as service:
        items = await read_pages(service.ListItems, ListItemsRequest(), lambda answer: answer.items)
    return {item.item_id: item.price for item in items}


async def play(shop: Shop, scenario: Scenario, prices: Mapping[str, Money], console: Console) -> Order:
    """Return the order as its saga left it. Raises CommandFailed if a service refuses or the saga does not end in time."""
    order_id = await _place(shop, scenario, prices)
    console.print(Text(f"  order {order_id}", style="dim"))
    return await _watch(shop, order_id, console, cancels=scenario.cancels)


async def _place(shop: Shop, scenario: Scenario, prices: Mapping[str, Money]) -> str:
    missing = [item_id for item_id in scenario.items if item_id not in prices]
    if missing:
        raise CommandFailed(f"the catalogue lacks {', '.join(missing)}")
    lines = [OrderLine(item_id=each, quantity=pieces, price=prices[each]) for each, pieces in scenario.items.items()]
    request = PlaceOrderRequest(customer_id=scenario.customer_id, idempotency_key=str(uuid.uuid4()), items=lines)
    deadline = asyncio.get_running_loop().time() + _CATALOGUE_SECONDS
    async with shop.order() as service:
        while True:
            try:
                return (await service.PlaceOrder(request)).order_id
            except grpc.aio.AioRpcError as error:
                if not _catalogue_lacks(error) or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.05)


def _catalogue_lacks(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the order service, just started, may not have read the catalogue from Kafka yet."""
    unknown = any(violation.field.endswith(".item_id") for violation in status_violations(error))
    return unknown or error.code() is grpc.StatusCode.UNAVAILABLE


async def _watch(shop: Shop, order_id: str, console: Console, *, cancels: bool) -> Order:
    progress, order = OrderProgress(), Order()
    with console.status("waiting for its next step"):
        async with shop.order() as service:
            async for update in service.WatchOrder(WatchOrderRequest(order_id=order_id), timeout=_WATCH_SECONDS):
                order = update.order
                for happening in progress.update(update):
                    console.print(happening_line(happening))
                if cancels:
                    await service.CancelOrder(CancelOrderRequest(order_id=order_id, reason="changed my mind"))
                    cancels = False
    return order
