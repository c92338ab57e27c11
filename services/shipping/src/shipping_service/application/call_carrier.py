"""Calls the carrier for decisions that asked for it, and never guesses: a call without an answer is asked about before it is judged."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from millrace.clock import Clock
from millrace.errors import OutcomeUnknown, Unavailable
from shipping_service.application.ports import Answer, Carrier
from shipping_service.domain.booking import (
    BookCarrier,
    BookingRefused,
    BookingWithdrawn,
    ParcelBooked,
    WithdrawBooking,
    booking_key,
)

T = TypeVar("T")


class Caller(Protocol):
    """Breaker, retry budget and deadline around one call: `millrace.external.call.ExternalCall`."""

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make()` returns. Raises Unavailable when nothing was done, OutcomeUnknown when it may have been."""


class CallCarrier:
    """The reactors of shipping: each makes one call, under the booking's idempotency key."""

    def __init__(self, carrier: Carrier, caller: Caller, aftercare: Caller, clock: Clock) -> None:
        """Find, withdraw and recall by `aftercare`, which has a breaker of its own: that of `caller` is open just when it is needed."""
        self._carrier = carrier
        self._caller = caller
        self._aftercare = aftercare
        self._clock = clock

    async def book(self, request: BookCarrier, effect_id: str) -> ParcelBooked | BookingRefused:
        """Return what became of the booking.

        Raises TransientError to be called again. A booking that fails past `give_up_at` is withdrawn; one the breaker kept back is not.
        """
        asked = False

        def make() -> Awaitable[Answer]:
            nonlocal asked
            asked = True
            return self._carrier.book(effect_id, request)

        try:
            answer = await self._made(make, effect_id)
        except (Unavailable, OutcomeUnknown):
            if not asked or self._clock() < request.give_up_at:
                raise
            reason = "the carrier cannot be reached"
            answer = await self._aftercare.call(lambda: self._carrier.withdraw(effect_id, request.order_id, reason))
        if answer.taken:
            return ParcelBooked(request.order_id, answer.tracking_number, answer.late, answer.reason)
        return BookingRefused(request.order_id, answer.reason)

    async def recall(self, request: WithdrawBooking, effect_id: str) -> BookingWithdrawn:
        """Return once the parcel is stopped. Raises TransientError to be called again, for as long as it takes."""
        key = booking_key(request.order_id)
        await self._aftercare.call(lambda: self._carrier.recall(key, request.order_id, request.reason))
        return BookingWithdrawn(request.order_id)

    async def _made(self, make: Callable[[], Awaitable[Answer]], key: str) -> Answer:
        try:
            return await self._caller.call(make)
        except OutcomeUnknown:
            answer = await self._aftercare.call(lambda: self._carrier.find(key))
            if answer is None:
                raise
            return answer
