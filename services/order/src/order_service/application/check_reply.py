"""Whether an answer can be true of the order it names. Called before the saga takes it; pure.

A partner that answers for another amount, other goods or another customer is at fault, and so is whoever writes in its name. Taking such
an answer would ship what nobody paid or give back what nobody took, so it is a dead letter, and the order waits for a person.
"""

from collections.abc import Iterable
from typing import Any

from millrace.edge.validation import Violations
from order_service.domain.order import Order
from shop.inventory.v1.inventory_messages_pb2 import (
    ShortLine,
    StockReleasedEvent,
    StockReservedEvent,
    StockShippedEvent,
    StockShortEvent,
)
from shop.payment.v1.payment_messages_pb2 import PaymentChargedEvent, PaymentRefundedEvent
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)
from shop.types.v1.money_pb2 import Money
from shopkit.content import Line, check_shipping_event

_NO_CURRENCY = "XXX"


def check_reply(body: Any, order: Order) -> None:
    """Raise Invalid, naming each field, unless `body` can be true of this order."""
    found = Violations()
    match body:
        case PaymentChargedEvent():
            _check_amount(found, body.amount, order)
        case PaymentRefundedEvent():
            _check_refund(found, body.amount, order)
        case StockReservedEvent() | StockShippedEvent():
            found.check("lines", _counts(body.lines) == _ordered(order), "must be those of the order")
        case StockReleasedEvent():
            found.check("lines", not body.lines or _counts(body.lines) == _ordered(order), "must be those of the order, or none")
        case StockShortEvent():
            _check_short(found, body.short, order)
        case ShippingScheduledEvent() | ShippingDelayedEvent() | ShippingFailedEvent() | ShippingDeliveredEvent():
            check_shipping_event(body)
            found.check("customer_id", body.customer_id.lower() == order.customer_id, "must be the customer of the order")
    found.raise_if_any()


def _check_amount(found: Violations, amount: Money, order: Order) -> None:
    total = order.total
    fits = (amount.currency, amount.minor_units) == (total.currency, total.minor_units)
    found.check("amount", fits, f"must be the order's total, {total.minor_units} {total.currency} minor units")


def _check_refund(found: Violations, amount: Money, order: Order) -> None:
    """What was never charged is refunded with nothing, in no currency if nobody had said in which to charge."""
    if amount.minor_units == 0:
        currencies = (order.total.currency, _NO_CURRENCY)
        found.check("amount.currency", amount.currency in currencies, f"must be {' or '.join(currencies)}")
    else:
        _check_amount(found, amount, order)


def _check_short(found: Violations, short: Iterable[ShortLine], order: Order) -> None:
    ordered = _ordered(order)
    for number, line in enumerate(short):
        field = f"short[{number}]"
        found.check(f"{field}.requested", ordered.get(line.item_id) == line.requested, "must be what was ordered")
        found.check(f"{field}.available", 0 <= line.available < line.requested, "must be less than what was ordered")


def _counts(lines: Iterable[Line]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.item_id] = counts.get(line.item_id, 0) + line.quantity
    return counts


def _ordered(order: Order) -> dict[str, int]:
    return _counts(order.items)
