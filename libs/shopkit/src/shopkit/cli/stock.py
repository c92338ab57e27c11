"""`millrace stock` and `millrace items`: what inventory has and what it sells."""

from typing import Annotated

import typer

from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.inventory.v1.inventory_service_pb2 import (
    Item,
    ListItemsRequest,
    ListStockRequest,
    SetItemRequest,
    SetStockRequest,
    Stock,
)
from shopkit.cli.options import AsJson, ItemId, Limit, group, read_int64, read_price, shop
from shopkit.clients import read_pages
from shopkit.show.tables import items_table, stock_table


def stock_commands() -> typer.Typer:
    """Return the group about stock."""
    stock = group("See and set stock.")
    stock.command("list")(list_stock)
    stock.command("set")(set_stock)
    return stock


def item_commands() -> typer.Typer:
    """Return the group about the catalogue."""
    items = group("See and change the catalogue.")
    items.command("list")(list_items)
    items.command("set")(set_item)
    return items


def list_stock(limit: Limit = 500, *, as_json: AsJson = False) -> None:
    """List every item's stock."""

    async def ask() -> list[Stock]:
        async with shop().inventory() as service:
            return await read_pages(service.ListStock, ListStockRequest(), lambda answer: answer.stock, limit=limit)

    stock = run(ask())
    print_json(stock) if as_json else console().print(stock_table(stock))


def set_stock(
    item: ItemId,
    on_hand: Annotated[str, typer.Argument(metavar="ON_HAND", help="How many pieces are free to be reserved.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Set how many pieces of an item are on hand; reserved ones stay reserved."""
    request = SetStockRequest(item_id=item, on_hand=read_int64(on_hand, f"{on_hand!r} is no whole number"))

    async def ask() -> Stock:
        async with shop().inventory() as service:
            return (await service.SetStock(request)).stock

    stock = run(ask())
    print_json(stock) if as_json else console().print(stock_table([stock]))


def list_items(limit: Limit = 500, *, as_json: AsJson = False) -> None:
    """List the catalogue."""

    async def ask() -> list[Item]:
        async with shop().inventory() as service:
            return await read_pages(service.ListItems, ListItemsRequest(), lambda answer: answer.items, limit=limit)

    items = run(ask())
    print_json(items) if as_json else console().print(items_table(items))


def set_item(
    item: ItemId,
    name: Annotated[str, typer.Option(help="What customers call it.")],
    price: Annotated[str, typer.Option(help="Price of one piece in minor units with its currency, such as 2499EUR.")],
    *,
    active: Annotated[bool, typer.Option("--sold/--not-sold", help="Whether it is sold.")] = True,
    as_json: AsJson = False,
) -> None:
    """Add an item to the catalogue, or change it."""
    request = SetItemRequest(item_id=item, name=name, price=read_price(price), active=active)

    async def ask() -> Item:
        async with shop().inventory() as service:
            return (await service.SetItem(request)).item

    changed = run(ask())
    print_json(changed) if as_json else console().print(items_table([changed]))
