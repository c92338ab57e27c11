"""A carrier that is none: it follows declared rules, takes its time, and keeps books that outlive this process."""

import asyncio
from hashlib import blake2b

from millrace.errors import Unavailable
from shipping_service.application.ports import Answer
from shipping_service.domain.booking import BookCarrier
from shopkit.ledger import Entry, Ledger
from shopkit.rules import Rule, RuleBook, Subject, Then

ON_TIME = "on_time"
LATE = "late"
REFUSED = "refused"


class SimulatedCarrier:
    """Keeps the promises of `Carrier`. A booking goes on when its caller stops waiting, as it would elsewhere."""

    def __init__(self, ledger: Ledger, rules: RuleBook, *, delay_seconds: float) -> None:
        self._ledger = ledger
        self._rules = rules
        self._delay_seconds = delay_seconds
        self._under_way: dict[str, asyncio.Task[Answer]] = {}

    async def book(self, idempotency_key: str, booking: BookCarrier) -> Answer:
        """Ship a parcel, once a key, as the rules say."""
        rule = self._rules.first(Subject(booking.customer_id, booking.item_ids, booking.amount_minor))
        seconds = self._delay_seconds + rule.delay_seconds
        if rule.then is Then.FAIL:
            await asyncio.sleep(seconds)
            raise Unavailable(rule.reason or "the carrier has trouble")
        task = self._under_way.get(idempotency_key)
        if task is None:
            task = asyncio.ensure_future(self._settle(_entry(idempotency_key, booking, rule), seconds))
            self._under_way[idempotency_key] = task
            task.add_done_callback(lambda done: self._settled(idempotency_key, done))
        answer = await asyncio.shield(task)
        if rule.then is Then.TIME_OUT:
            await asyncio.Event().wait()
        return answer

    async def find(self, idempotency_key: str) -> Answer | None:
        """Return what the books say of a key."""
        entry = await self._ledger.find(idempotency_key)
        return None if entry is None else _answer(entry)

    async def withdraw(self, idempotency_key: str, order_id: str, reason: str) -> Answer:
        """Write a refusal under the key, unless the booking is in the books already."""
        return _answer(await self._ledger.record(Entry(idempotency_key, "booking", order_id, REFUSED, reason=reason)))

    async def recall(self, idempotency_key: str, order_id: str, reason: str) -> None:
        """Refuse the booking if it is not made yet, and write down that its parcel is stopped if it is."""
        answer = await self.withdraw(idempotency_key, order_id, reason)
        if answer.taken:
            await self._ledger.record(Entry(f"recall-{idempotency_key}", "recall", order_id, "done", reason=reason))

    async def _settle(self, entry: Entry, seconds: float) -> Answer:
        await asyncio.sleep(seconds)
        return _answer(await self._ledger.record(entry))

    def _settled(self, key: str, task: "asyncio.Task[Answer]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; marked as seen for when nobody does


def _entry(key: str, booking: BookCarrier, rule: Rule) -> Entry:
    if rule.then is Then.DECLINE:
        outcome, reason, reference = REFUSED, rule.reason or "the carrier does not take it", ""
    elif rule.then is Then.DELAY:
        outcome, reason, reference = LATE, rule.reason or "the carrier is late", _tracking_number(key)
    else:
        outcome, reason, reference = ON_TIME, "", _tracking_number(key)
    return Entry(key, "booking", booking.order_id, outcome, booking.customer_id, reason=reason, reference=reference)


def _answer(entry: Entry) -> Answer:
    return Answer(entry.outcome != REFUSED, entry.reference, entry.outcome == LATE, entry.reason)


def _tracking_number(key: str) -> str:
    return f"MR{int.from_bytes(blake2b(key.encode(), digest_size=6).digest(), 'big'):015d}"
