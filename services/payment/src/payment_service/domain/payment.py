"""The payment of one order: its state, its events, and how one follows from the other. Pure; knows no wire format and no gateway."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from millrace.decision import StreamType

NO_CURRENCY = "XXX"
"""ISO 4217's code for "no currency": of a payment that was refunded before anybody said what to charge."""


class Status(StrEnum):
    """How far a payment is. Declined, refunded and voided are final."""

    NONE = "none"
    CHARGING = "charging"
    CHARGED = "charged"
    DECLINED = "declined"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Payment:
    """The state of a payment. `refund_wanted` is set when the refund came before the gateway's answer to the charge."""

    status: Status = Status.NONE
    order_id: str = ""
    customer_id: str = ""
    currency: str = NO_CURRENCY
    amount_minor: int = 0
    charged_minor: int = 0
    refunded_minor: int = 0
    refund_wanted: bool = False
    reason: str = ""
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChargeRequested:
    """The gateway is asked for the money."""

    order_id: str
    customer_id: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Charged:
    """The money was taken; `reference` is the gateway's."""

    reference: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Declined:
    """Nothing was taken, nor will be."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RefundRequested:
    """The money is to be given back: at once, or when the charge turns out to have happened."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """All that was taken was given back; `reference` is the gateway's."""

    reference: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Voided:
    """The refund came before the charge: nothing was taken, and a charge that comes later is refused."""

    order_id: str
    reason: str
    at: datetime


Event = ChargeRequested | Charged | Declined | RefundRequested | Refunded | Voided


def evolve(state: Payment, event: Event) -> Payment:
    """Return the state after an event."""
    match event:
        case ChargeRequested(order_id, customer_id, currency, amount):
            return replace(
                state, status=Status.CHARGING, order_id=order_id, customer_id=customer_id, currency=currency, amount_minor=amount
            )
        case Charged(_, at):
            status = Status.REFUNDING if state.refund_wanted else Status.CHARGED
            return replace(state, status=status, charged_minor=state.amount_minor, decided_at=at)
        case Declined(reason, at):
            return replace(state, status=Status.DECLINED, reason=reason, refund_wanted=False, decided_at=at)
        case RefundRequested(reason):
            status = Status.REFUNDING if state.status is Status.CHARGED else state.status
            return replace(state, status=status, refund_wanted=True, reason=reason)
        case Refunded(_, at):
            return replace(state, status=Status.REFUNDED, refunded_minor=state.charged_minor, refund_wanted=False, decided_at=at)
        case Voided(order_id, reason, at):
            return replace(state, status=Status.VOIDED, order_id=order_id, reason=reason, decided_at=at)


PAYMENTS = StreamType(
    "payment", Payment(), evolve, (ChargeRequested, Charged, Declined, RefundRequested, Refunded, Voided)
)  # fmt: skip
"""One stream an order: `payment-<order id>`."""
