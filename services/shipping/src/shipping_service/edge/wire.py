"""Between the contract's types and the service's own."""

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.edge.validation import Violations
from shipping_service.application.ports import ShipmentView
from shipping_service.domain.shipment import Status
from shop.shipping.v1 import shipping_service_pb2 as pb

STATUSES: Mapping[Status, pb.ShipmentStatus.ValueType] = {
    Status.BOOKING: pb.SHIPMENT_STATUS_PENDING,
    Status.SCHEDULED: pb.SHIPMENT_STATUS_SCHEDULED,
    Status.DELAYED: pb.SHIPMENT_STATUS_DELAYED,
    Status.FAILED: pb.SHIPMENT_STATUS_FAILED,
    Status.DELIVERED: pb.SHIPMENT_STATUS_DELIVERED,
    Status.CANCELLED: pb.SHIPMENT_STATUS_CANCELLED,
}


def shipment(view: ShipmentView) -> pb.Shipment:
    """Return a shipment as the contract shows it."""
    expected = view.expected_delivery_at
    return pb.Shipment(
        order_id=view.order_id,
        customer_id=view.customer_id,
        status=STATUSES[view.status],
        tracking_number=view.tracking_number,
        reason=view.reason,
        expected_delivery_at=None if expected is None else _timestamp(expected),
        updated_at=_timestamp(view.updated_at),
    )


def status(violations: Violations, field: str, value: pb.ShipmentStatus.ValueType) -> Status | None:
    """Return the status a list is limited to, None for all."""
    if value == pb.SHIPMENT_STATUS_UNSPECIFIED:
        return None
    found = next((own for own, theirs in STATUSES.items() if theirs == value), None)
    violations.check(field, found is not None, "must be a known status")
    return found


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
