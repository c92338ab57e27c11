"""The simulated carrier follows its rules and books once a key; the service never guesses what became of a call."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from millrace.clock import utc_now
from millrace.errors import OutcomeUnknown, Unavailable
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics
from millrace.store.contract import Store
from millrace.store.open import open_store
from shipping_service.adapters.simulated_carrier import SimulatedCarrier
from shipping_service.application.call_carrier import CallCarrier
from shipping_service.bootstrap import MIGRATIONS
from shipping_service.config import Config
from shipping_service.domain.booking import BookCarrier, BookingRefused, BookingWithdrawn, ParcelBooked, WithdrawBooking
from shopkit.ledger import Ledger
from shopkit.rules import Rule, RuleBook, Then

ORDER, CUSTOMER, KEY = "order", "customer", "booking-order"
LATER = datetime(2999, 1, 1, tzinfo=UTC)
BOOK = BookCarrier(ORDER, CUSTOMER, ("mug",), 200, LATER)
RECALL = WithdrawBooking(ORDER, CUSTOMER, "cancelled")


@dataclass
class Carrier:
    """A simulated carrier with its books, and the reactors that call it with a time-out of 0.2 s."""

    store: Store
    rules: RuleBook
    simulator: SimulatedCarrier
    calls: CallCarrier

    def rows(self) -> list[tuple[Any, ...]]:
        with self.store.session().transaction() as tx:
            return tx.sql.execute("SELECT key, kind, outcome FROM external_ledger ORDER BY key")


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    store = open_store("memory://")
    store.migrate(MIGRATIONS)
    rules, ledger = RuleBook([]), Ledger(store, utc_now)
    simulator = SimulatedCarrier(ledger, rules, delay_seconds=0.001)
    policy = CallPolicy(attempt_seconds=0.2, total_seconds=1.0, first_pause_seconds=0.001, longest_pause_seconds=0.002)
    figures = ExternalMetrics(CollectorRegistry())
    callers = ExternalCall("carrier", policy, figures), ExternalCall("carrier-2", policy, figures)
    yield Carrier(store, rules, simulator, CallCarrier(simulator, *callers, utc_now))
    ledger.close()


def _book(carrier: Carrier, request: BookCarrier = BOOK) -> ParcelBooked | BookingRefused:
    return asyncio.run(carrier.calls.book(request, KEY))


def test_a_parcel_is_booked_once_a_key_however_often_it_is_called(carrier: Carrier) -> None:
    async def scenario() -> list[ParcelBooked | BookingRefused]:
        return list(await asyncio.gather(*(carrier.calls.book(BOOK, KEY) for _ in range(5))))

    outcomes = asyncio.run(scenario())
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], ParcelBooked)
    assert outcomes[0].tracking_number.startswith("MR")
    assert carrier.rows() == [(KEY, "booking", "on_time")]


def test_the_default_rules_delay_anvils_and_refuse_pianos(carrier: Carrier, config: Callable[..., Config]) -> None:
    carrier.rules.replace(config().carrier_rules)
    late = asyncio.run(carrier.calls.book(replace(BOOK, item_ids=("mug", "anvil")), "booking-anvil"))
    assert isinstance(late, ParcelBooked)
    assert late.late
    assert late.reason
    refused = asyncio.run(carrier.calls.book(replace(BOOK, item_ids=("piano",)), "booking-piano"))
    assert refused == BookingRefused(ORDER, "the carrier takes no pianos")


def test_a_booking_without_an_answer_is_asked_about(carrier: Carrier) -> None:
    carrier.rules.replace([Rule(Then.TIME_OUT)])
    assert isinstance(_book(carrier), ParcelBooked)
    assert carrier.rows() == [(KEY, "booking", "on_time")]


def test_a_booking_nobody_knows_of_yet_is_not_decided(carrier: Carrier) -> None:
    carrier.rules.replace([Rule(Then.APPROVE, delay_seconds=60)])
    with pytest.raises(OutcomeUnknown):
        _book(carrier)
    assert carrier.rows() == []


def test_a_carrier_in_trouble_for_too_long_is_given_up_and_can_never_ship_any_more(carrier: Carrier) -> None:
    carrier.rules.replace([Rule(Then.FAIL, reason="strike")])
    with pytest.raises(Unavailable, match="strike"):
        _book(carrier)
    given_up = _book(carrier, replace(BOOK, give_up_at=utc_now() - timedelta(seconds=1)))
    carrier.rules.replace([])
    assert given_up == BookingRefused(ORDER, "the carrier cannot be reached")
    assert not asyncio.run(carrier.simulator.book(KEY, BOOK)).taken


def test_a_booking_recalled_before_it_is_made_is_refused(carrier: Carrier) -> None:
    assert asyncio.run(carrier.calls.recall(RECALL, "withdrawal-order")) == BookingWithdrawn(ORDER)
    assert _book(carrier) == BookingRefused(ORDER, "cancelled")
    assert carrier.rows() == [(KEY, "booking", "refused")]


def test_a_booking_that_was_made_is_recalled_once(carrier: Carrier) -> None:
    _book(carrier)
    for _ in range(2):
        assert asyncio.run(carrier.calls.recall(RECALL, "withdrawal-order")) == BookingWithdrawn(ORDER)
    assert carrier.rows() == [(KEY, "booking", "on_time"), (f"recall-{KEY}", "recall", "done")]


def test_many_bookings_without_an_answer_are_all_asked_about(carrier: Carrier) -> None:
    carrier.rules.replace([Rule(Then.TIME_OUT)])
    keys = [f"booking-{number}" for number in range(30)]

    async def scenario() -> list[ParcelBooked | BookingRefused]:
        return list(await asyncio.gather(*(carrier.calls.book(BOOK, key) for key in keys)))

    assert all(isinstance(outcome, ParcelBooked) for outcome in asyncio.run(scenario()))
    assert len(carrier.rows()) == len(keys)


def _open_the_breaker(carrier: Carrier) -> None:
    carrier.rules.replace([Rule(Then.FAIL)])
    for _ in range(3):
        with pytest.raises(Unavailable):
            _book(carrier)
    carrier.rules.replace([])


def test_a_booking_that_the_breaker_kept_back_is_not_given_up(carrier: Carrier) -> None:
    _open_the_breaker(carrier)
    with pytest.raises(Unavailable, match="not asked again yet"):
        _book(carrier, replace(BOOK, give_up_at=utc_now() - timedelta(seconds=1)))
    assert carrier.rows() == []


def test_a_booking_is_recalled_though_the_breaker_of_bookings_is_open(carrier: Carrier) -> None:
    _open_the_breaker(carrier)
    assert asyncio.run(carrier.calls.recall(RECALL, "withdrawal-order")) == BookingWithdrawn(ORDER)
    assert carrier.rows() == [(KEY, "booking", "refused")]
