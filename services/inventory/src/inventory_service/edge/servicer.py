"""Answers inventory's calls: reads from the read models, writes as commands."""

import grpc

from inventory_service.application.answers import stock_lines
from inventory_service.application.ports import Reads
from inventory_service.application.set_item import SetItem, SetStock
from inventory_service.domain.item import ItemState
from inventory_service.domain.reservation import Status
from inventory_service.edge.validation import check_item_id, check_order_id, check_set_item, check_set_stock, page
from millrace.edge.validation import write_page_token
from millrace.errors import NotFound
from shop.inventory.v1 import inventory_service_pb2 as pb
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceServicer
from shopkit.mapping import to_money, to_timestamp
from shopkit.service import Commands

_STATUS = {
    Status.NONE: pb.RESERVATION_STATUS_UNSPECIFIED,
    Status.RESERVED: pb.RESERVATION_STATUS_RESERVED,
    Status.SHORT: pb.RESERVATION_STATUS_SHORT,
    Status.RELEASED: pb.RESERVATION_STATUS_RELEASED,
    Status.SHIPPED: pb.RESERVATION_STATUS_SHIPPED,
}


class InventoryServicer(InventoryServiceServicer):
    """The edge of the inventory service."""

    def __init__(self, commands: Commands, reads: Reads) -> None:
        self._commands = commands
        self._reads = reads

    async def GetStock(self, request: pb.GetStockRequest, context: grpc.ServicerContext) -> pb.GetStockResponse:
        """Return one item's stock."""
        check_item_id(request.item_id)
        item = await self._reads.item(request.item_id)
        if item is None:
            raise NotFound(f"there is no item {request.item_id}")
        return pb.GetStockResponse(stock=_stock(request.item_id, item))

    async def ListStock(self, request: pb.ListStockRequest, context: grpc.ServicerContext) -> pb.ListStockResponse:
        """Return a page of stock."""
        size, after = page(request)
        found = await self._reads.items(after, size + 1)
        return pb.ListStockResponse(stock=[_stock(name, item) for name, item in found[:size]], next_page_token=_next(found, size))

    async def SetStock(self, request: pb.SetStockRequest, context: grpc.ServicerContext) -> pb.SetStockResponse:
        """Set what is on hand."""
        check_set_stock(request)
        item = await self._commands.decide(request.item_id, SetStock(request.item_id, request.on_hand))
        return pb.SetStockResponse(stock=_stock(request.item_id, item))

    async def ListItems(self, request: pb.ListItemsRequest, context: grpc.ServicerContext) -> pb.ListItemsResponse:
        """Return a page of the catalogue."""
        size, after = page(request)
        found = await self._reads.items(after, size + 1, active_only=request.active_only)
        return pb.ListItemsResponse(items=[_item(name, item) for name, item in found[:size]], next_page_token=_next(found, size))

    async def SetItem(self, request: pb.SetItemRequest, context: grpc.ServicerContext) -> pb.SetItemResponse:
        """Add or change an item."""
        check_set_item(request)
        price = request.price
        command = SetItem(request.item_id, request.name, price.currency, price.minor_units, request.active)
        item = await self._commands.decide(request.item_id, command)
        return pb.SetItemResponse(item=_item(request.item_id, item))

    async def GetReservation(self, request: pb.GetReservationRequest, context: grpc.ServicerContext) -> pb.GetReservationResponse:
        """Return an order's reservation."""
        found = await self._reads.reservation(check_order_id(request.order_id))
        if found is None:
            raise NotFound(f"nothing was ever asked for order {request.order_id}")
        shown = pb.Reservation(
            order_id=found.order_id,
            status=_STATUS[found.status],
            lines=stock_lines(found.lines),
            updated_at=to_timestamp(found.updated_at),
        )
        return pb.GetReservationResponse(reservation=shown)


def _next(found: list[tuple[str, ItemState]], size: int) -> str:
    return write_page_token(found[size - 1][0]) if len(found) > size else ""


def _stock(item_id: str, item: ItemState) -> pb.Stock:
    return pb.Stock(
        item_id=item_id,
        on_hand=item.on_hand,
        reserved=item.reserved,
        shipped=item.shipped,
        updated_at=to_timestamp(item.moved_at),
    )


def _item(item_id: str, item: ItemState) -> pb.Item:
    return pb.Item(
        item_id=item_id,
        name=item.name,
        price=to_money(item.currency, item.price_minor),
        active=item.active,
        sequence=item.sequence,
        updated_at=to_timestamp(item.changed_at),
    )
