"""A payment gateway that is none: it follows declared rules, takes its time, and keeps books that outlive this process."""

import asyncio
from hashlib import blake2b

from millrace.errors import Unavailable
from payment_service.application.ports import Receipt
from payment_service.domain.card import ChargeCard, RefundCard
from shopkit.ledger import Entry, Ledger
from shopkit.rules import RuleBook, Subject, Then

DONE = "done"
REFUSED = "refused"


class SimulatedGateway:
    """Keeps the promises of `PaymentGateway`. A charge goes on when its caller stops waiting, as it would elsewhere."""

    def __init__(self, ledger: Ledger, rules: RuleBook, *, delay_seconds: float) -> None:
        self._ledger = ledger
        self._rules = rules
        self._delay_seconds = delay_seconds
        self._under_way: dict[str, asyncio.Task[Receipt]] = {}

    async def charge(self, idempotency_key: str, charge: ChargeCard) -> Receipt:
        """Take the money, once a key, as the rules say."""
        rule = self._rules.first(Subject(charge.customer_id, amount_minor=charge.amount_minor))
        seconds = self._delay_seconds + rule.delay_seconds
        if rule.then is Then.FAIL:
            await asyncio.sleep(seconds)
            raise Unavailable(rule.reason or "the gateway has trouble")
        refusal = (rule.reason or "card declined") if rule.then is Then.DECLINE else None
        task = self._under_way.get(idempotency_key)
        if task is None:
            task = asyncio.ensure_future(self._settle(_charge_entry(idempotency_key, charge, refusal), seconds))
            self._under_way[idempotency_key] = task
            task.add_done_callback(lambda done: self._settled(idempotency_key, done))
        receipt = await asyncio.shield(task)
        if rule.then is Then.TIME_OUT:
            await asyncio.Event().wait()
        return receipt

    async def refund(self, idempotency_key: str, refund: RefundCard) -> Receipt:
        """Give the money back, once a key. No rule touches it."""
        entry = Entry(
            idempotency_key, "refund", refund.order_id, DONE, refund.customer_id, refund.currency, refund.amount_minor,
            reference=_reference("rf", idempotency_key),
        )  # fmt: skip
        return await self._settle(entry, self._delay_seconds)

    async def find(self, idempotency_key: str) -> Receipt | None:
        """Return what the books say of a key."""
        entry = await self._ledger.find(idempotency_key)
        return None if entry is None else _receipt(entry)

    async def void(self, idempotency_key: str, charge: ChargeCard, reason: str) -> Receipt:
        """Write a refusal under the key, unless the charge is in the books already."""
        return _receipt(await self._ledger.record(_charge_entry(idempotency_key, charge, reason)))

    async def _settle(self, entry: Entry, seconds: float) -> Receipt:
        await asyncio.sleep(seconds)
        return _receipt(await self._ledger.record(entry))

    def _settled(self, key: str, task: "asyncio.Task[Receipt]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; marked as seen for when nobody does


def _charge_entry(key: str, charge: ChargeCard, refusal: str | None) -> Entry:
    outcome, reference = (DONE, _reference("ch", key)) if refusal is None else (REFUSED, "")
    return Entry(
        key,
        "charge",
        charge.order_id,
        outcome,
        charge.customer_id,
        charge.currency,
        charge.amount_minor,
        refusal or "",
        reference,
    )


def _receipt(entry: Entry) -> Receipt:
    return Receipt(entry.outcome == DONE, entry.reference, entry.reason)


def _reference(prefix: str, key: str) -> str:
    return f"{prefix}_{blake2b(key.encode(), digest_size=10).hexdigest()}"
