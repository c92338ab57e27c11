"""`millrace orders`: place, get, list, cancel and watch."""

import uuid
from typing import Annotated

import typer

from millrace.cli.failures import CommandFailed
from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.inventory.v1.inventory_service_pb2 import ListItemsRequest
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import (
    CancelOrderRequest,
    GetOrderRequest,
    ListOrdersRequest,
    Order,
    OrderLine,
    PlaceOrderRequest,
    WatchOrderRequest,
)
from shop.types.v1.money_pb2 import Money
from shopkit.cli.options import AsJson, Limit, OrderId, Status, group, read_enum, shop
from shopkit.clients import read_pages
from shopkit.show.lines import happening_line
from shopkit.show.progress import OrderProgress, is_final
from shopkit.show.tables import orders_table

_INT32 = range(-(2**31), 2**31)


def commands() -> typer.Typer:
    """Return the group."""
    orders = group("Place orders and follow them.")
    for command in (place, get, list_, cancel, watch):
        orders.command(command.__name__.rstrip("_"))(command)
    return orders


def place(
    customer: Annotated[str, typer.Option(help="UUID of the customer.")],
    item: Annotated[list[str], typer.Option(help="What to order, as `id:quantity`; may be given several times.")],
    key: Annotated[str, typer.Option(help="Idempotency key: the same key gives the same order. A new one by default.")] = "",
    *,
    follow: Annotated[bool, typer.Option("--watch", help="Watch the order until it is final.")] = False,
    as_json: AsJson = False,
) -> None:
    """Place an order at the catalogue's prices."""
    lines = [_read_line(text) for text in item]
    order = run(_place(customer, lines, key or str(uuid.uuid4())))
    _show(order, as_json=as_json)
    if follow:
        run(_watch(order.order_id, None, as_json=as_json))
    elif not as_json:
        console().print(f"follow it: millrace orders watch {order.order_id}", soft_wrap=True)


def get(order: OrderId, *, as_json: AsJson = False) -> None:
    """Show one order."""

    async def ask() -> Order:
        async with shop().order() as service:
            return (await service.GetOrder(GetOrderRequest(order_id=order))).order

    _show(run(ask()), as_json=as_json)


def list_(
    customer: Annotated[str, typer.Option(help="Only of this customer (UUID).")] = "",
    status: Status = "",
    limit: Limit = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first."""
    request = ListOrdersRequest(customer_id=customer, status=read_enum(OrderStatus, status))

    async def ask() -> list[Order]:
        async with shop().order() as service:
            return await read_pages(service.ListOrders, request, lambda answer: answer.orders, limit=limit)

    orders = run(ask())
    print_json(orders) if as_json else console().print(orders_table(orders))


def cancel(order: OrderId, reason: Annotated[str, typer.Option(help="Why, in words.")] = "", *, as_json: AsJson = False) -> None:
    """Ask for an order to be undone; refused once it is confirmed."""

    async def ask() -> Order:
        async with shop().order() as service:
            return (await service.CancelOrder(CancelOrderRequest(order_id=order, reason=reason))).order

    _show(run(ask()), as_json=as_json)


def watch(
    order: OrderId,
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Give up after so many seconds; by default never.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show an order's saga step by step as it happens, until the order is final."""
    run(_watch(order, timeout, as_json=as_json))


def _read_line(text: str) -> OrderLine:
    item_id, _, quantity = text.rpartition(":")
    try:
        pieces = int(quantity)
    except ValueError:
        pieces = _INT32.stop
    if not item_id or pieces not in _INT32:
        raise typer.BadParameter(f"{text!r} is not of the form id:quantity, such as teapot:2")
    return OrderLine(item_id=item_id, quantity=pieces)


async def _place(customer: str, lines: list[OrderLine], key: str) -> Order:
    prices = await _prices()
    for line in lines:
        if line.item_id not in prices:
            raise CommandFailed(f"there is no item {line.item_id!r}; `millrace items list` shows what there is")
        line.price.CopyFrom(prices[line.item_id])
    request = PlaceOrderRequest(customer_id=customer, idempotency_key=key, items=lines)
    async with shop().order() as service:
        return (await service.PlaceOrder(request)).order


async def _prices() -> dict[str, Money]:
    async with shop().inventory() as service:
        items = await read_pages(service.ListItems, ListItemsRequest(), lambda answer: answer.items)
    return {item.item_id: item.price for item in items}


async def _watch(order: str, timeout_seconds: float | None, *, as_json: bool) -> None:
    progress, out, final = OrderProgress(), console(), False
    async with shop().order() as service:
        async for update in service.WatchOrder(WatchOrderRequest(order_id=order), timeout=timeout_seconds):
            final = is_final(update.order)
            if as_json:
                print_json(update)
                continue
            for happening in progress.update(update):
                out.print(happening_line(happening))
    if not final:
        raise CommandFailed(f"the order service ended the watch before order {order} was final; watch it again")


def _show(order: Order, *, as_json: bool) -> None:
    print_json(order) if as_json else console().print(orders_table([order]))
