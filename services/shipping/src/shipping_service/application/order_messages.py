"""Checks what the order service says before anything is decided about it."""

from millrace.edge.validation import Violations
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent, OrderConfirmedEvent

_MOST_ITEMS = 10_000
_LONGEST_REASON = 500


def check_order(body: OrderConfirmedEvent | OrderCancelledEvent) -> None:
    """Raise Invalid, naming each field, if an order cannot be as the message says."""
    violations = Violations()
    violations.uuid("order_id", body.order_id)
    violations.uuid("customer_id", body.customer_id)
    violations.not_empty("items", body.items, max_items=_MOST_ITEMS)
    for number, item in enumerate(body.items):
        violations.text(f"items[{number}].item_id", item.item_id)
        violations.quantity(f"items[{number}].quantity", item.quantity)
        violations.money(f"items[{number}].price", item.price.currency, item.price.minor_units)
    violations.money("total_amount", body.total_amount.currency, body.total_amount.minor_units)
    violations.check("sequence", body.sequence >= 1, "must be at least 1")
    violations.raise_if_any()


def storable(reason: str) -> str:
    """Return words as text that every database takes: a cancellation is not refused for the reason it gives."""
    return "".join(letter if letter.isprintable() else " " for letter in reason[:_LONGEST_REASON])
