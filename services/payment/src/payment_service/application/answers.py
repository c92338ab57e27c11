"""What the service says of a payment on `payment.result`, built from its state."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.decision import Publish
from payment_service.domain.payment import Payment
from shop.payment.v1.payment_messages_pb2 import PaymentChargedEvent, PaymentDeclinedEvent, PaymentRefundedEvent
from shop.types.v1.money_pb2 import Money


def charged(payment: Payment) -> Publish:
    """Say that the money was taken."""
    amount = Money(currency=payment.currency, minor_units=payment.charged_minor)
    return Publish(PaymentChargedEvent(order_id=payment.order_id, amount=amount, charged_at=_timestamp(payment.decided_at)))


def declined(payment: Payment, reason: str) -> Publish:
    """Say that the charge was refused."""
    return Publish(PaymentDeclinedEvent(order_id=payment.order_id, reason=reason, declined_at=_timestamp(payment.decided_at)))


def refunded(payment: Payment) -> Publish:
    """Say that whatever was taken has been given back; the amount is 0 where nothing was."""
    amount = Money(currency=payment.currency, minor_units=payment.refunded_minor)
    return Publish(PaymentRefundedEvent(order_id=payment.order_id, amount=amount, refunded_at=_timestamp(payment.decided_at)))


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
