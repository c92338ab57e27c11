"""The companies around the shop: a payment gateway, a carrier, a mail server, with books of their own and bad days.

They keep the promises of the services' ports, no more: an answer may be late or missing, and what was asked may be done long after.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from devkit.simulation.mishaps import Rates
from millrace.errors import OutcomeUnknown, Unavailable
from notification_service.application.ports import Mail
from notification_service.domain.notices import Channel
from payment_service.application.ports import Receipt
from payment_service.domain.card import ChargeCard, RefundCard
from shipping_service.application.ports import Answer
from shipping_service.domain.booking import BookCarrier

T = TypeVar("T")


class Once:
    """Calls once, as it is: what fails is called again by the reactor."""

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make()` returns."""
        return await make()


class Books(Generic[T]):
    """One company's books: the first answer to a key stands. Calls get through, or not, as chance has it."""

    def __init__(self, chance: Random, rates: Rates) -> None:
        self._chance = chance
        self._rates = rates
        self.entries: dict[str, T] = {}

    async def ask(self, key: str, answer: T) -> T:
        """Return the entry under `key`, which becomes `answer` if there is none. Raises Unavailable and OutcomeUnknown."""
        trouble = self._chance.random() < self._rates.trouble_outside
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        if not trouble:
            return self.entries.setdefault(key, answer)
        match self._chance.choice(("away", "silent", "later")):
            case "away":
                raise Unavailable("nobody there")
            case "silent":
                self.entries.setdefault(key, answer)
            case _:
                asyncio.get_running_loop().call_later(self._chance.uniform(0, 60), self.entries.setdefault, key, answer)
        raise OutcomeUnknown("no answer")

    async def find(self, key: str) -> T | None:
        """Return the entry under a key. Raises Unavailable."""
        await self.reach()
        return self.entries.get(key)

    async def reach(self) -> None:
        """Wait for a line. Raises Unavailable where there is none."""
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        if self._chance.random() < self._rates.trouble_outside:
            raise Unavailable("nobody there")


@dataclass(frozen=True, slots=True)
class Moved:
    """An entry of the gateway's books: money that moved, or a refusal."""

    order_id: str
    amount_minor: int
    receipt: Receipt


class Bank:
    """A payment gateway. See `PaymentGateway`."""

    def __init__(self, chance: Random, rates: Rates, declines: Callable[[str], bool]) -> None:
        """`declines` says whose charges are refused, by customer."""
        self.books = Books[Moved](chance, rates)
        self._declines = declines

    async def charge(self, idempotency_key: str, charge: ChargeCard) -> Receipt:
        """Take the money, once a key."""
        receipt = (
            Receipt(False, reason="declined") if self._declines(charge.customer_id) else Receipt(True, f"ch {charge.order_id}")
        )
        return (await self.books.ask(idempotency_key, Moved(charge.order_id, charge.amount_minor, receipt))).receipt

    async def refund(self, idempotency_key: str, refund: RefundCard) -> Receipt:
        """Give it back, once a key."""
        moved = Moved(refund.order_id, -refund.amount_minor, Receipt(True, f"rf {refund.order_id}"))
        return (await self.books.ask(idempotency_key, moved)).receipt

    async def find(self, idempotency_key: str) -> Receipt | None:
        """Return what became of a key."""
        found = await self.books.find(idempotency_key)
        return None if found is None else found.receipt

    async def void(self, idempotency_key: str, charge: ChargeCard, reason: str) -> Receipt:
        """Refuse a charge not made by now."""
        await self.books.reach()
        refusal = Moved(charge.order_id, charge.amount_minor, Receipt(False, reason=reason))
        return self.books.entries.setdefault(idempotency_key, refusal).receipt

    def kept(self) -> Counter[str]:
        """Return what is kept of each order, in minor units."""
        found: Counter[str] = Counter()
        for moved in self.books.entries.values():
            if moved.receipt.done:
                found[moved.order_id] += moved.amount_minor
        return found


class Van:
    """A carrier. See `Carrier`."""

    def __init__(self, chance: Random, rates: Rates) -> None:
        self.books = Books[Answer](chance, rates)
        self.recalled: set[str] = set()

    async def book(self, idempotency_key: str, booking: BookCarrier) -> Answer:
        """Ship a parcel, once a key: late if it holds an anvil, never if it holds a piano."""
        answer = Answer(True, f"track {booking.order_id}", late="anvil" in booking.item_ids)
        if "piano" in booking.item_ids:
            answer = Answer(False, reason="too heavy")
        return await self.books.ask(idempotency_key, answer)

    async def find(self, idempotency_key: str) -> Answer | None:
        """Return what became of a key."""
        return await self.books.find(idempotency_key)

    async def withdraw(self, idempotency_key: str, order_id: str, reason: str) -> Answer:
        """Refuse a booking not made by now."""
        await self.books.reach()
        return self.books.entries.setdefault(idempotency_key, Answer(False, reason=reason))

    async def recall(self, idempotency_key: str, order_id: str, reason: str) -> None:
        """Stop a parcel."""
        await self.books.reach()
        self.books.entries.setdefault(idempotency_key, Answer(False, reason=reason))
        self.recalled.add(idempotency_key)

    def delivers(self) -> set[str]:
        """Return the keys of the parcels that are shipped."""
        return {key for key, answer in self.books.entries.items() if answer.taken} - self.recalled


class Postbox:
    """A mail server that takes its time and loses nothing. See `Mailer`."""

    channel = Channel.EMAIL

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.mails: dict[str, Mail] = {}

    async def send(self, mail: Mail) -> None:
        """Take a mail; one that comes again under its id is the same mail."""
        await asyncio.sleep(self._chance.uniform(0, 2))
        self.mails[mail.id] = mail

    def close(self) -> None:
        """See `Mailer`."""
