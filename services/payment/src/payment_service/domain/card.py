"""What the gateway is asked, and what became of it. The id of a call is its idempotency key, and there is one of each an order."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ChargeCard:
    """Take money. From `give_up_at` on, a gateway that cannot be reached is no longer waited for: the charge is voided."""

    order_id: str
    customer_id: str
    currency: str
    amount_minor: int
    give_up_at: datetime


@dataclass(frozen=True, slots=True)
class RefundCard:
    """Give back what the charge took."""

    order_id: str
    customer_id: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CardCharged:
    """The gateway took the money."""

    order_id: str
    reference: str


@dataclass(frozen=True, slots=True)
class CardDeclined:
    """The gateway refused: nothing was taken, nor will be."""

    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CardRefunded:
    """The gateway gave the money back."""

    order_id: str
    reference: str


def charge_key(order_id: str) -> str:
    """Return the idempotency key of an order's charge."""
    return f"charge-{order_id}"


def refund_key(order_id: str) -> str:
    """Return the idempotency key of an order's refund."""
    return f"refund-{order_id}"
