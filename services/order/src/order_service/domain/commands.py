"""What the edge asks of an order."""

from dataclasses import dataclass

from order_service.domain.order import Money, OrderItem


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """Place an order; the same id with the same fingerprint again is the same order."""

    order_id: str
    customer_id: str
    items: tuple[OrderItem, ...]
    total: Money
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel an order that is not confirmed yet, at the customer's wish."""

    order_id: str
    reason: str
