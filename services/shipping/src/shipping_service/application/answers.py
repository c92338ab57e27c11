"""What the service says of a shipment on `shipping.*`, built from its state."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.decision import Publish
from shipping_service.domain.shipment import Shipment
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)


def scheduled(shipment: Shipment, at: datetime) -> Publish:
    """Say that the parcel will be on time."""
    return Publish(
        ShippingScheduledEvent(
            order_id=shipment.order_id,
            customer_id=shipment.customer_id,
            tracking_number=shipment.tracking_number,
            expected_delivery_at=_timestamp(shipment.expected_delivery_at),
            scheduled_at=_timestamp(at),
        )
    )


def delayed(shipment: Shipment, at: datetime) -> Publish:
    """Say that the parcel will be late."""
    return Publish(
        ShippingDelayedEvent(
            order_id=shipment.order_id,
            customer_id=shipment.customer_id,
            tracking_number=shipment.tracking_number,
            reason=shipment.reason,
            expected_delivery_at=_timestamp(shipment.expected_delivery_at),
            delayed_at=_timestamp(at),
        )
    )


def failed(shipment: Shipment, at: datetime) -> Publish:
    """Say that nobody ships it."""
    return Publish(
        ShippingFailedEvent(
            order_id=shipment.order_id, customer_id=shipment.customer_id, reason=shipment.reason, failed_at=_timestamp(at)
        )
    )


def delivered(shipment: Shipment, at: datetime) -> Publish:
    """Say that the customer has it."""
    return Publish(
        ShippingDeliveredEvent(
            order_id=shipment.order_id,
            customer_id=shipment.customer_id,
            tracking_number=shipment.tracking_number,
            delivered_at=_timestamp(at),
        )
    )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
