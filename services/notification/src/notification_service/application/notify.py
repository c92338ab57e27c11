"""Decides what a customer is told about a message of orders or shipping: once for each message, whatever order they come in."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.decision import Context, Decision, Effect
from notification_service.application.answers import sent_event
from notification_service.application.send_mail import SendMail
from notification_service.domain.contact import ContactState, contact_stream
from notification_service.domain.notices import NOTICES, Channel, Kind, NoticesState, NotificationMade, NotificationSent
from notification_service.domain.wording import Facts, amount, subject, text
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent, OrderCompletedEvent, OrderConfirmedEvent, OrderCreatedEvent
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)
from shopkit.content import OrderEvent, ShippingEvent, check_order_event, check_shipping_event
from shopkit.mapping import from_timestamp

_NAMESPACE = UUID("4f0f4a1e-3f0c-5c1b-9a57-2f6a3f0d9b11")
ORDER_KINDS: Mapping[type[OrderEvent], Kind] = {
    OrderCreatedEvent: Kind.ORDER_CREATED,
    OrderConfirmedEvent: Kind.ORDER_CONFIRMED,
    OrderCancelledEvent: Kind.ORDER_CANCELLED,
    OrderCompletedEvent: Kind.ORDER_COMPLETED,
}
SHIPPING_KINDS: Mapping[type[ShippingEvent], Kind] = {
    ShippingScheduledEvent: Kind.SHIPPING_SCHEDULED,
    ShippingDelayedEvent: Kind.SHIPPING_DELAYED,
    ShippingFailedEvent: Kind.SHIPPING_FAILED,
    ShippingDeliveredEvent: Kind.SHIPPING_DELIVERED,
}


class Notify:
    """Decides every message about an order. With `mail_is_on` a customer with an address gets a mail, all else is kept for the record."""

    def __init__(self, *, mail_is_on: bool) -> None:
        self._mail_is_on = mail_is_on

    def streams(self, body: OrderEvent | ShippingEvent) -> Sequence[str]:
        """Name the order's notifications and the customer's contact. Raises Invalid where the content makes no sense."""
        _check(body)
        return [NOTICES.stream(body.order_id), contact_stream(body.customer_id)]

    def decide(self, body: OrderEvent | ShippingEvent, states: Mapping[str, Any], context: Context) -> Decision:
        """Make the notification of this message, unless it was made."""
        kind, facts = _facts(body)
        stream = NOTICES.stream(body.order_id)
        notices: NoticesState = states[stream]
        contact: ContactState = states[contact_stream(body.customer_id)]
        # Message ids are forgotten after a week; what is derived from them stays in the stream.
        notification_id = str(uuid5(_NAMESPACE, context.message_id))
        if notification_id in notices.made:
            return Decision()
        channel = Channel.EMAIL if self._mail_is_on and contact.known else Channel.RECORD
        made = NotificationMade(
            notification_id, body.order_id, body.customer_id, kind, channel, subject(kind, body.order_id),
            text(kind, contact.name, facts), context.now,
        )  # fmt: skip
        if channel is Channel.EMAIL:
            return Decision(events=[(stream, made)], effects=[Effect(notification_id, _mail(made, contact))])
        sent = NotificationSent(notification_id, channel, context.now)
        told = sent_event(notification_id, body.order_id, body.customer_id, kind, sent)
        return Decision(events=[(stream, made), (stream, sent)], publish=[told])


def _check(body: OrderEvent | ShippingEvent) -> None:
    if isinstance(body, ShippingScheduledEvent | ShippingDelayedEvent | ShippingFailedEvent | ShippingDeliveredEvent):
        check_shipping_event(body)
    else:
        check_order_event(body)


def _facts(body: OrderEvent | ShippingEvent) -> tuple[Kind, Facts]:
    """Return what a checked message tells."""
    if isinstance(body, ShippingScheduledEvent | ShippingDelayedEvent | ShippingFailedEvent | ShippingDeliveredEvent):
        return SHIPPING_KINDS[type(body)], _shipping_facts(body)
    facts = Facts(
        order_id=body.order_id,
        lines=tuple((item.name or item.item_id, item.quantity) for item in body.items),
        amount=amount(body.total_amount.currency, body.total_amount.minor_units),
        reason=body.reason if isinstance(body, OrderCancelledEvent) else "",
        delayed=isinstance(body, OrderCompletedEvent) and body.delayed,
    )
    return ORDER_KINDS[type(body)], facts


def _shipping_facts(body: ShippingEvent) -> Facts:
    return Facts(
        order_id=body.order_id,
        reason=body.reason if isinstance(body, ShippingDelayedEvent | ShippingFailedEvent) else "",
        tracking_number="" if isinstance(body, ShippingFailedEvent) else body.tracking_number,
        expected_on=_day(body.expected_delivery_at) if isinstance(body, ShippingScheduledEvent | ShippingDelayedEvent) else "",
    )


def _day(stamp: Timestamp) -> str:
    return from_timestamp(stamp).date().isoformat()


def _mail(made: NotificationMade, contact: ContactState) -> SendMail:
    return SendMail(
        made.notification_id, made.order_id, made.customer_id, made.kind, contact.email, contact.name, made.subject, made.body
    )
