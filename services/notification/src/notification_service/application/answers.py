"""The message that tells others of a notification, and how its enums are written."""

from collections.abc import Mapping

from millrace.decision import Publish
from notification_service.domain.notices import Channel, Kind, NotificationSent
from shop.notification.v1 import notification_messages_pb2 as pb
from shopkit.mapping import to_timestamp

KINDS: Mapping[Kind, pb.NotificationKind.ValueType] = {
    Kind.ORDER_CREATED: pb.NOTIFICATION_KIND_ORDER_CREATED,
    Kind.ORDER_CONFIRMED: pb.NOTIFICATION_KIND_ORDER_CONFIRMED,
    Kind.ORDER_CANCELLED: pb.NOTIFICATION_KIND_ORDER_CANCELLED,
    Kind.ORDER_COMPLETED: pb.NOTIFICATION_KIND_ORDER_COMPLETED,
    Kind.SHIPPING_SCHEDULED: pb.NOTIFICATION_KIND_SHIPPING_SCHEDULED,
    Kind.SHIPPING_DELAYED: pb.NOTIFICATION_KIND_SHIPPING_DELAYED,
    Kind.SHIPPING_FAILED: pb.NOTIFICATION_KIND_SHIPPING_FAILED,
    Kind.SHIPPING_DELIVERED: pb.NOTIFICATION_KIND_SHIPPING_DELIVERED,
}
CHANNELS: Mapping[Channel, pb.NotificationChannel.ValueType] = {
    Channel.EMAIL: pb.NOTIFICATION_CHANNEL_EMAIL,
    Channel.RECORD: pb.NOTIFICATION_CHANNEL_RECORD,
}


def sent_event(notification_id: str, order_id: str, customer_id: str, kind: Kind, sent: NotificationSent) -> Publish:
    """Return the message that a notification went out."""
    body = pb.NotificationSentEvent(
        order_id=order_id,
        notification_id=notification_id,
        customer_id=customer_id,
        kind=KINDS[kind],
        channel=CHANNELS[sent.channel],
        sent_at=to_timestamp(sent.at),
    )
    return Publish(body)
