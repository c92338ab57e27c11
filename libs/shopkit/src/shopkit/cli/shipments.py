"""`millrace shipments`: where parcels are."""

import typer

from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.shipping.v1.shipping_service_pb2 import GetShipmentRequest, ListShipmentsRequest, Shipment, ShipmentStatus
from shopkit.cli.options import AsJson, Limit, OrderId, Status, group, read_enum, shop
from shopkit.clients import read_pages
from shopkit.show.tables import shipments_table


def commands() -> typer.Typer:
    """Return the group."""
    shipments = group("See shipments.")
    shipments.command("list")(list_)
    shipments.command("get")(get)
    return shipments


def list_(status: Status = "", limit: Limit = 50, *, as_json: AsJson = False) -> None:
    """List shipments by their order's id."""
    request = ListShipmentsRequest(status=read_enum(ShipmentStatus, status))

    async def ask() -> list[Shipment]:
        async with shop().shipping() as service:
            return await read_pages(service.ListShipments, request, lambda answer: answer.shipments, limit=limit)

    shipments = run(ask())
    print_json(shipments) if as_json else console().print(shipments_table(shipments))


def get(order: OrderId, *, as_json: AsJson = False) -> None:
    """Show the shipment of one order."""

    async def ask() -> Shipment:
        async with shop().shipping() as service:
            return (await service.GetShipment(GetShipmentRequest(order_id=order))).shipment

    shipment = run(ask())
    print_json(shipment) if as_json else console().print(shipments_table([shipment]))
