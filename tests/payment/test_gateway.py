"""The simulated gateway follows its rules and charges once a key; the service never guesses what became of a call."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from millrace.clock import utc_now
from millrace.errors import OutcomeUnknown, PermanentError, Unavailable
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics
from millrace.store.contract import Store
from millrace.store.open import open_store
from millrace.testing.waiting import eventually
from payment_service.adapters.simulated_gateway import SimulatedGateway
from payment_service.application.call_gateway import CallGateway
from payment_service.application.ports import Receipt
from payment_service.bootstrap import MIGRATIONS
from payment_service.domain.card import CardCharged, CardDeclined, CardRefunded, ChargeCard, RefundCard
from shopkit.ledger import Entry, Ledger
from shopkit.rules import Rule, RuleBook, Then

ORDER, CUSTOMER, KEY = "order", "customer", "charge-order"
LATER = datetime(2999, 1, 1, tzinfo=UTC)
CHARGE = ChargeCard(ORDER, CUSTOMER, "EUR", 2499, LATER)


@dataclass
class Gateway:
    """A simulated gateway with its books, and the reactors that call it with a time-out of 0.2 s."""

    store: Store
    rules: RuleBook
    ledger: Ledger
    simulator: SimulatedGateway
    calls: CallGateway

    def rows(self) -> list[tuple[Any, ...]]:
        with self.store.session().transaction() as tx:
            return tx.sql.execute("SELECT key, kind, outcome, amount_minor, reason FROM external_ledger ORDER BY key")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    store = open_store("memory://")
    store.migrate(MIGRATIONS)
    rules, ledger = RuleBook([]), Ledger(store, utc_now)
    simulator = SimulatedGateway(ledger, rules, delay_seconds=0.001)
    policy = CallPolicy(attempt_seconds=0.2, total_seconds=1.0, first_pause_seconds=0.001, longest_pause_seconds=0.002)
    figures = ExternalMetrics(CollectorRegistry())
    callers = ExternalCall("gateway", policy, figures), ExternalCall("gateway-2", policy, figures)
    yield Gateway(store, rules, ledger, simulator, CallGateway(simulator, *callers, utc_now))
    ledger.close()


async def _until_known(ask: Callable[[], Awaitable[Receipt | None]]) -> Receipt:
    async with asyncio.timeout(10):
        while (receipt := await ask()) is None:
            pass
    return receipt


def test_a_charge_is_made_once_a_key_however_often_it_is_called(gateway: Gateway) -> None:
    async def scenario() -> list[CardCharged | CardDeclined]:
        return list(await asyncio.gather(*(gateway.calls.charge(CHARGE, KEY) for _ in range(5))))

    outcomes = asyncio.run(scenario())
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], CardCharged)
    assert gateway.rows() == [(KEY, "charge", "done", 2499, "")]


def test_the_first_answer_stands_when_the_rules_change(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.DECLINE, customer_id=CUSTOMER, reason="card declined")])
    first = asyncio.run(gateway.calls.charge(CHARGE, KEY))
    gateway.rules.replace([])
    assert asyncio.run(gateway.calls.charge(CHARGE, KEY)) == first == CardDeclined(ORDER, "card declined")
    assert gateway.rows() == [(KEY, "charge", "refused", 2499, "card declined")]


def test_a_charge_without_an_answer_is_asked_about(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.TIME_OUT)])
    assert isinstance(asyncio.run(gateway.calls.charge(CHARGE, KEY)), CardCharged)
    assert gateway.rows() == [(KEY, "charge", "done", 2499, "")]


def test_a_charge_nobody_knows_of_yet_is_not_decided(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.DELAY, delay_seconds=0.4)])

    async def scenario() -> CardCharged | CardDeclined:
        with pytest.raises(OutcomeUnknown):
            await gateway.calls.charge(CHARGE, KEY)
        assert gateway.rows() == []
        await _until_known(lambda: gateway.simulator.find(KEY))
        return await gateway.calls.charge(CHARGE, KEY)

    assert isinstance(asyncio.run(scenario()), CardCharged)
    assert gateway.rows() == [(KEY, "charge", "done", 2499, "")]


def test_a_gateway_in_trouble_is_called_again_later(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.FAIL, reason="maintenance")])
    with pytest.raises(Unavailable, match="maintenance"):
        asyncio.run(gateway.calls.charge(CHARGE, KEY))
    assert gateway.rows() == []
    gateway.rules.replace([])
    assert isinstance(asyncio.run(gateway.calls.charge(CHARGE, KEY)), CardCharged)


def test_a_gateway_in_trouble_for_too_long_is_given_up_and_can_never_charge_any_more(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.FAIL)])
    given_up = replace(CHARGE, give_up_at=utc_now() - timedelta(seconds=1))
    declined = CardDeclined(ORDER, "the payment gateway cannot be reached")
    assert asyncio.run(gateway.calls.charge(given_up, KEY)) == declined
    gateway.rules.replace([])
    assert asyncio.run(gateway.calls.charge(CHARGE, KEY)) == declined


def test_many_charges_without_an_answer_are_all_asked_about(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.TIME_OUT)])
    keys = [f"charge-{number}" for number in range(30)]

    async def scenario() -> list[CardCharged | CardDeclined]:
        return list(await asyncio.gather(*(gateway.calls.charge(CHARGE, key) for key in keys)))

    assert all(isinstance(outcome, CardCharged) for outcome in asyncio.run(scenario()))
    assert len(gateway.rows()) == len(keys)


def test_a_charge_that_the_breaker_kept_back_is_not_given_up(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.FAIL)])
    for _ in range(3):
        with pytest.raises(Unavailable):
            asyncio.run(gateway.calls.charge(CHARGE, KEY))
    gateway.rules.replace([])
    with pytest.raises(Unavailable, match="not asked again yet"):
        asyncio.run(gateway.calls.charge(replace(CHARGE, give_up_at=utc_now() - timedelta(seconds=1)), KEY))
    assert gateway.rows() == []


def test_a_charge_is_given_up_though_its_own_failure_opened_the_breaker(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.FAIL)])
    policy = CallPolicy(attempts=1, breaker_failures=10, breaker_recovery_seconds=0.2)
    figures = ExternalMetrics(CollectorRegistry())
    callers = ExternalCall("caller", policy, figures), ExternalCall("aftercare", policy, figures)
    calls = CallGateway(gateway.simulator, *callers, utc_now)
    for _ in range(12):
        with pytest.raises(Unavailable):
            asyncio.run(calls.charge(CHARGE, KEY))
    given_up = replace(CHARGE, give_up_at=utc_now() - timedelta(seconds=1))

    def outcome() -> CardCharged | CardDeclined | None:
        try:
            return asyncio.run(calls.charge(given_up, KEY))
        except Unavailable:
            return None

    eventually(lambda: outcome() == CardDeclined(ORDER, "the payment gateway cannot be reached"), 5, gateway.rows)
    assert gateway.rows() == [(KEY, "charge", "refused", 2499, "the payment gateway cannot be reached")]


def test_giving_up_a_charge_that_was_made_finds_it(gateway: Gateway) -> None:
    made = asyncio.run(gateway.calls.charge(CHARGE, KEY))
    gateway.rules.replace([Rule(Then.FAIL)])
    given_up = replace(CHARGE, give_up_at=utc_now() - timedelta(seconds=1))
    assert asyncio.run(gateway.calls.charge(given_up, KEY)) == made


def test_a_refund_is_made_once_a_key_and_no_rule_touches_it(gateway: Gateway) -> None:
    gateway.rules.replace([Rule(Then.DECLINE)])
    request = RefundCard(ORDER, CUSTOMER, "EUR", 2499)

    async def scenario() -> list[CardRefunded]:
        return list(await asyncio.gather(*(gateway.calls.refund(request, "refund-order") for _ in range(3))))

    assert len(set(asyncio.run(scenario()))) == 1
    assert gateway.rows() == [("refund-order", "refund", "done", 2499, "")]


def test_a_refund_that_is_refused_is_none(gateway: Gateway) -> None:
    async def scenario() -> CardRefunded:
        await gateway.ledger.record(Entry("refund-order", "refund", ORDER, "refused", reason="account closed"))
        return await gateway.calls.refund(RefundCard(ORDER, CUSTOMER, "EUR", 2499), "refund-order")

    with pytest.raises(PermanentError, match="account closed"):
        asyncio.run(scenario())
