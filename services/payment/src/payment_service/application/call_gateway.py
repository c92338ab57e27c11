"""Calls the gateway for decisions that asked for it, and never guesses: a call without an answer is asked about before it is judged."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from millrace.clock import Clock
from millrace.errors import OutcomeUnknown, PermanentError, Unavailable
from payment_service.application.ports import PaymentGateway, Receipt
from payment_service.domain.card import CardCharged, CardDeclined, CardRefunded, ChargeCard, RefundCard

T = TypeVar("T")


class Caller(Protocol):
    """Breaker, retry budget and deadline around one call: `millrace.external.call.ExternalCall`."""

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make()` returns. Raises Unavailable when nothing was done, OutcomeUnknown when it may have been."""


class CallGateway:
    """The reactors of payment: each makes one call, under the effect's id as idempotency key."""

    def __init__(self, gateway: PaymentGateway, caller: Caller, aftercare: Caller, clock: Clock) -> None:
        """Find and void by `aftercare`, which has a breaker of its own: that of `caller` is open just when it is needed."""
        self._gateway = gateway
        self._caller = caller
        self._aftercare = aftercare
        self._clock = clock

    async def charge(self, request: ChargeCard, effect_id: str) -> CardCharged | CardDeclined:
        """Return what became of the charge.

        Raises TransientError to be called again. A charge that fails past `give_up_at` is voided; one the breaker kept back is not.
        """
        asked = False

        def make() -> Awaitable[Receipt]:
            nonlocal asked
            asked = True
            return self._gateway.charge(effect_id, request)

        try:
            receipt = await self._made(make, effect_id)
        except (Unavailable, OutcomeUnknown):
            if not asked or self._clock() < request.give_up_at:
                raise
            reason = "the payment gateway cannot be reached"
            receipt = await self._aftercare.call(lambda: self._gateway.void(effect_id, request, reason))
        if receipt.done:
            return CardCharged(request.order_id, receipt.reference)
        return CardDeclined(request.order_id, receipt.reason)

    async def refund(self, request: RefundCard, effect_id: str) -> CardRefunded:
        """Return once the money is given back. Raises TransientError to be called again, for as long as it takes."""
        receipt = await self._made(lambda: self._gateway.refund(effect_id, request), effect_id)
        if not receipt.done:
            raise PermanentError(f"the gateway refuses to refund order {request.order_id}: {receipt.reason}")
        return CardRefunded(request.order_id, receipt.reference)

    async def _made(self, make: Callable[[], Awaitable[Receipt]], key: str) -> Receipt:
        try:
            return await self._caller.call(make)
        except OutcomeUnknown:
            receipt = await self._aftercare.call(lambda: self._gateway.find(key))
            if receipt is None:
                raise
            return receipt
