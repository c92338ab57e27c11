"""The words of each notification: subject and plain text, from facts alone."""

from dataclasses import dataclass
from decimal import Decimal

from notification_service.domain.notices import Kind

# ISO 4217: the currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text may name; what does not apply is empty."""

    order_id: str
    lines: tuple[tuple[str, int], ...] = ()
    amount: str = ""
    reason: str = ""
    tracking_number: str = ""
    expected_on: str = ""
    delayed: bool = False


def subject(kind: Kind, order_id: str) -> str:
    """Return the line above the text."""
    return f"{_SUBJECTS[kind]} (order {order_id[:8]})"


def text(kind: Kind, name: str, facts: Facts) -> str:
    """Return the plain text."""
    return f"Dear {name or 'customer'},\n\n{_sentence(kind, facts)}\n\nYour order: {facts.order_id}\n"


def amount(currency: str, minor_units: int) -> str:
    """Return an amount as people read it, such as `EUR 24.99`."""
    return f"{currency} {Decimal(minor_units).scaleb(-_DIGITS.get(currency, 2))}"


_SUBJECTS = {
    Kind.ORDER_CREATED: "We have your order",
    Kind.ORDER_CONFIRMED: "Your order is confirmed",
    Kind.ORDER_CANCELLED: "Your order is cancelled",
    Kind.ORDER_COMPLETED: "Your order is on its way",
    Kind.SHIPPING_SCHEDULED: "Your parcel is scheduled",
    Kind.SHIPPING_DELAYED: "Your parcel will be late",
    Kind.SHIPPING_FAILED: "We could not ship your order",
    Kind.SHIPPING_DELIVERED: "Your parcel was delivered",
}


def _sentence(kind: Kind, facts: Facts) -> str:
    match kind:
        case Kind.ORDER_CREATED:
            listed = "\n".join(f"  {count} x {name}" for name, count in facts.lines)
            return f"thank you for your order of {facts.amount}:\n\n{listed}"
        case Kind.ORDER_CONFIRMED:
            return f"your payment of {facts.amount} arrived and everything is in stock."
        case Kind.ORDER_CANCELLED:
            return f"your order of {facts.amount} is cancelled{_because(facts)}. You pay nothing."
        case Kind.ORDER_COMPLETED:
            return "the carrier has your order" + (", though it will be late." if facts.delayed else ".")
        case Kind.SHIPPING_SCHEDULED:
            return f"parcel {facts.tracking_number} should arrive on {facts.expected_on}."
        case Kind.SHIPPING_DELAYED:
            return f"parcel {facts.tracking_number} will be late{_because(facts)}. It should arrive on {facts.expected_on}."
        case Kind.SHIPPING_FAILED:
            return f"no carrier takes your order{_because(facts)}. What you paid is on its way back."
        case Kind.SHIPPING_DELIVERED:
            return f"parcel {facts.tracking_number} was handed over."


def _because(facts: Facts) -> str:
    return f": {facts.reason}" if facts.reason else ""
