"""What the payment service needs of the outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_service.domain.card import ChargeCard, RefundCard
from payment_service.domain.payment import Status
from shopkit.rules import Rule


@dataclass(frozen=True, slots=True)
class Receipt:
    """The gateway's last word on one idempotency key. `done` False: refused, for `reason`."""

    done: bool
    reference: str = ""
    reason: str = ""


class PaymentGateway(Protocol):
    """The company that moves the money. The first answer to an idempotency key is its answer for good.

    Each call may raise Unavailable when nothing was done, and anything else transient when it may have been.
    """

    async def charge(self, idempotency_key: str, charge: ChargeCard) -> Receipt:
        """Take the money, once a key."""

    async def refund(self, idempotency_key: str, refund: RefundCard) -> Receipt:
        """Give the money back, once a key."""

    async def find(self, idempotency_key: str) -> Receipt | None:
        """Return what became of a key; None while nothing did."""

    async def void(self, idempotency_key: str, charge: ChargeCard, reason: str) -> Receipt:
        """See to it that a charge not made by now never is, and return what stands: a refusal, or the charge that was made."""


@dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment as readers see it."""

    order_id: str
    customer_id: str
    currency: str
    amount_minor: int
    status: Status
    charged_minor: int
    refunded_minor: int
    reason: str
    updated_at: datetime


class PaymentReads(Protocol):
    """The read model of payments. Raises Unavailable when the database is away."""

    async def get(self, order_id: str) -> PaymentView | None:
        """Return one payment, if there is one."""

    async def page(self, *, status: Status | None, after: str, size: int) -> Sequence[PaymentView]:
        """Return up to `size` payments behind an order id, in order of their order's id."""


class GatewayRules(Protocol):
    """The rules of a simulated gateway."""

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules in force."""

    def replace(self, rules: Sequence[Rule]) -> None:
        """Put other rules in force."""
