"""Answers the calls of `OrderService`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from millrace.clock import micros
from millrace.edge.validation import Violations, write_page_token
from millrace.errors import Invalid, NotFound, Unavailable
from millrace.observability.in_hand import learned
from order_service.application.ports import Catalogue, OrderFilter, OrderReader
from order_service.domain.commands import CancelOrder
from order_service.domain.order import Order
from order_service.edge.mapping import order_to_wire, saga_to_wire, status_from_wire
from order_service.edge.validation import check_offer, check_order_id, check_place_order
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceServicer
from shopkit.service import Commands

_WATCH_SECONDS = 0.1
_MAX_REASON = 500


class OrderServer(OrderServiceServicer):
    """The order service's edge."""

    def __init__(self, commands: Commands, orders: OrderReader, catalogue: Catalogue) -> None:
        self._commands = commands
        self._orders = orders
        self._catalogue = catalogue

    async def PlaceOrder(self, request: wire.PlaceOrderRequest, context: Any) -> wire.PlaceOrderResponse:
        """Place an order, once per idempotency key: the same request again gets its order, whatever the catalogue says by then."""
        command = check_place_order(request)
        learned(order_id=command.order_id)
        try:
            command = await check_offer(command, self._catalogue)
        except (Invalid, Unavailable):
            if not await self._is_placed(command.order_id):
                raise
        order: Order = await self._commands.decide(command.order_id, command)
        return wire.PlaceOrderResponse(order_id=order.order_id, order=order_to_wire(order))

    async def GetOrder(self, request: wire.GetOrderRequest, context: Any) -> wire.GetOrderResponse:
        """Return an order."""
        order = await self._orders.order(check_order_id(request.order_id))
        return wire.GetOrderResponse(order=order_to_wire(order))

    async def ListOrders(self, request: wire.ListOrdersRequest, context: Any) -> wire.ListOrdersResponse:
        """Return orders, newest first, a page at a time."""
        violations = Violations()
        if request.customer_id:
            violations.uuid("customer_id", request.customer_id)
        limit = violations.page_size("page_size", request.page_size)
        before = _read_token(request.page_token, violations)
        violations.raise_if_any()
        wanted = OrderFilter(request.customer_id.lower(), status_from_wire(request.status), before, limit + 1)
        found = await self._orders.list(wanted)
        page = found[:limit]
        more = len(found) > limit and page[-1].created_at is not None
        token = write_page_token(f"{micros(page[-1].created_at)}/{page[-1].order_id}") if more and page[-1].created_at else ""
        return wire.ListOrdersResponse(orders=[order_to_wire(order) for order in page], next_page_token=token)

    async def CancelOrder(self, request: wire.CancelOrderRequest, context: Any) -> wire.CancelOrderResponse:
        """Cancel an order that is not confirmed yet."""
        violations = Violations()
        violations.uuid("order_id", request.order_id)
        violations.text("reason", request.reason, max_length=_MAX_REASON, required=False)
        violations.raise_if_any()
        order_id = request.order_id.lower()
        await self._orders.get(order_id)
        order: Order = await self._commands.decide(order_id, CancelOrder(order_id, request.reason or "cancelled by the customer"))
        return wire.CancelOrderResponse(order=order_to_wire(order))

    async def GetSaga(self, request: wire.GetSagaRequest, context: Any) -> wire.GetSagaResponse:
        """Return an order's saga."""
        order_id = check_order_id(request.order_id)
        _, saga = await self._orders.get(order_id)
        return wire.GetSagaResponse(saga=saga_to_wire(order_id, saga))

    async def WatchOrder(self, request: wire.WatchOrderRequest, context: Any) -> AsyncIterator[wire.WatchOrderResponse]:
        """Send the order and its saga now and after each change, until the saga is finished."""
        order_id = check_order_id(request.order_id)
        last = None
        while True:
            found = await self._orders.get(order_id)
            if found != last:
                last = found
                yield wire.WatchOrderResponse(order=order_to_wire(found[0]), saga=saga_to_wire(order_id, found[1]))
            if found[1].finished:
                return
            await asyncio.sleep(_WATCH_SECONDS)

    async def _is_placed(self, order_id: str) -> bool:
        try:
            await self._orders.get(order_id)
        except NotFound:
            return False
        return True


def _read_token(token: str, violations: Violations) -> tuple[int, str] | None:
    position = violations.page_token("page_token", token)
    if position is None:
        return None
    created_at, _, order_id = position.partition("/")
    if not violations.check(
        "page_token", created_at.isdecimal() and len(created_at) < 19, "must be a token from an earlier answer"
    ):
        return None
    return int(created_at), order_id
