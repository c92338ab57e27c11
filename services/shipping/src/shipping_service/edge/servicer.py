"""Answers the calls of `shop.shipping.v1.ShippingService`."""

from typing import Any

from millrace.edge.validation import Violations, write_page_token
from millrace.errors import NotFound
from shipping_service.application.ports import ShipmentReads
from shipping_service.edge import wire
from shop.shipping.v1 import shipping_service_pb2 as pb
from shop.shipping.v1.shipping_service_pb2_grpc import ShippingServiceServicer


class ShippingServicer(ShippingServiceServicer):
    """Shows shipments."""

    def __init__(self, shipments: ShipmentReads) -> None:
        self._shipments = shipments

    async def GetShipment(self, request: pb.GetShipmentRequest, context: Any) -> pb.GetShipmentResponse:
        """Return one shipment. Raises Invalid and NotFound."""
        violations = Violations()
        violations.uuid("order_id", request.order_id)
        violations.raise_if_any()
        found = await self._shipments.get(request.order_id.lower())
        if found is None:
            raise NotFound(f"there is no shipment for order {request.order_id}")
        return pb.GetShipmentResponse(shipment=wire.shipment(found))

    async def ListShipments(self, request: pb.ListShipmentsRequest, context: Any) -> pb.ListShipmentsResponse:
        """Return one page. Raises Invalid."""
        violations = Violations()
        status = wire.status(violations, "status", request.status)
        size = violations.page_size("page_size", request.page_size)
        after = violations.page_token("page_token", request.page_token)
        violations.raise_if_any()
        found = await self._shipments.page(status=status, after=after or "", size=size + 1)
        token = write_page_token(found[size - 1].order_id) if len(found) > size else ""
        return pb.ListShipmentsResponse(shipments=[wire.shipment(each) for each in found[:size]], next_page_token=token)
