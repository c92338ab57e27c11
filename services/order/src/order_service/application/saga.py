"""The saga that brings an order to its end, declared: charge, reserve, confirm and ship, dispatch the stock."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.saga import SagaDefinition, SagaState, Step, lock_stream, saga_stream
from order_service.domain.order import Order
from shop.inventory.v1.inventory_messages_pb2 import (
    ReleaseStockCommand,
    ReserveStockCommand,
    ShipStockCommand,
    StockLine,
    StockReleasedEvent,
    StockReservedEvent,
    StockShippedEvent,
    StockShortEvent,
)
from shop.payment.v1.payment_messages_pb2 import (
    ChargePaymentCommand,
    PaymentChargedEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    RefundPaymentCommand,
)
from shop.shipping.v1.shipping_messages_pb2 import ShippingDelayedEvent, ShippingFailedEvent, ShippingScheduledEvent
from shop.types.v1.money_pb2 import Money

SAGAS = saga_stream("saga")
LOCKS = lock_stream()
SHIPPING = "shipping"
_ANY_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class SagaTiming:
    """How long the saga waits for its partners."""

    answer_within: timedelta = timedelta(seconds=10)
    attempts: int = 4
    shipping_within: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SagaData:
    """What the saga's commands are made of."""

    order: Order
    now: datetime


def order_saga(timing: SagaTiming, *, refuse_doubles: bool = False) -> SagaDefinition[SagaData]:
    """Return the saga. Shipping is asked for by the event order.confirmed; behind it there is no way back but the carrier's refusal.

    An event is told once, so shipping gets one attempt; it asks the carrier again itself (docs/decisions/0025).
    With `refuse_doubles` an order has its customer and goods to itself to its end: nobody pays twice for what was sent off twice.
    """
    return SagaDefinition(
        "order-saga",
        (
            Step(
                "payment",
                command=_charge,
                succeeded_by=(PaymentChargedEvent,),
                failed_by=(PaymentDeclinedEvent,),
                compensation=_refund,
                compensated_by=(PaymentRefundedEvent,),
                answer_within=timing.answer_within,
                attempts=timing.attempts,
                locks=_basket if refuse_doubles else None,
            ),
            Step(
                "stock",
                command=_reserve,
                succeeded_by=(StockReservedEvent,),
                failed_by=(StockShortEvent,),
                compensation=_release,
                compensated_by=(StockReleasedEvent,),
                answer_within=timing.answer_within,
                attempts=timing.attempts,
            ),
            Step(
                SHIPPING,
                succeeded_by=(ShippingScheduledEvent, ShippingDelayedEvent),
                failed_by=(ShippingFailedEvent,),
                answer_within=timing.shipping_within,
                attempts=1,
            ),
            Step(
                "dispatch",
                command=_dispatch,
                succeeded_by=(StockShippedEvent,),
                answer_within=timing.answer_within,
                attempts=None,
            ),
        ),
    )


def lock_streams(definition: SagaDefinition[SagaData], order: Order, saga: SagaState) -> list[str]:
    """Return the streams of the locks that an order's saga may have or need, which follow from the order alone."""
    return [LOCKS.stream(resource) for resource in definition.resources(SagaData(order, _ANY_TIME), saga)]


def timestamp(at: datetime) -> Timestamp:
    """Return an aware time as protobuf writes it."""
    written = Timestamp()
    written.FromDatetime(at)
    return written


def _basket(data: SagaData) -> list[str]:
    return [f"basket/{data.order.fingerprint}"]


def _charge(data: SagaData) -> ChargePaymentCommand:
    order = data.order
    amount = Money(currency=order.total.currency, minor_units=order.total.minor_units)
    return ChargePaymentCommand(
        order_id=order.order_id, customer_id=order.customer_id, amount=amount, requested_at=timestamp(data.now)
    )


def _refund(data: SagaData, reason: str) -> RefundPaymentCommand:
    return RefundPaymentCommand(order_id=data.order.order_id, reason=reason, requested_at=timestamp(data.now))


def _reserve(data: SagaData) -> ReserveStockCommand:
    lines = [StockLine(item_id=item.item_id, quantity=item.quantity) for item in data.order.items]
    return ReserveStockCommand(order_id=data.order.order_id, items=lines, requested_at=timestamp(data.now))


def _release(data: SagaData, _: str) -> ReleaseStockCommand:
    return ReleaseStockCommand(order_id=data.order.order_id, requested_at=timestamp(data.now))


def _dispatch(data: SagaData) -> ShipStockCommand:
    return ShipStockCommand(order_id=data.order.order_id, requested_at=timestamp(data.now))
