"""The whole shop in one process, by a seed: whatever crashes, comes late, twice or never, its promises hold; and what breaks one is seen.

MILLRACE_SIMULATION_SEED repeats a run, MILLRACE_SIMULATION_ORDERS (10000) sets its size; `make simulate` plays larger ones.
"""

import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from devkit.simulation.mishaps import Rates
from devkit.simulation.run import NotAtRest, Plan, simulate
from millrace.decision import Decision
from millrace.outbox.dispatch import Dispatch
from payment_service.application import answers
from payment_service.application.refund_payment import RefundPayment
from payment_service.domain.payment import PAYMENTS
from shipping_service.application.call_carrier import CallCarrier
from shipping_service.domain.booking import BookingWithdrawn

pytestmark = pytest.mark.timeout(600)
BAD_DAYS = Rates(long_absence=0.3)
SMALL = Plan(7, 150, BAD_DAYS)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Write no log: everything that goes wrong on purpose is told there."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_order_comes_to_its_right_end_whatever_goes_wrong() -> None:
    seed = int(os.environ.get("MILLRACE_SIMULATION_SEED") or random.SystemRandom().randrange(2**32))
    orders = int(os.environ.get("MILLRACE_SIMULATION_ORDERS") or 10_000)
    print(f"MILLRACE_SIMULATION_SEED={seed}")
    outcome = simulate(Plan(seed, orders))
    assert list(outcome.faults) == [], f"repeat with MILLRACE_SIMULATION_SEED={seed} MILLRACE_SIMULATION_ORDERS={orders}"
    assert outcome.crashes > 20
    assert outcome.doubled > 100


def test_a_seed_gives_the_same_run_in_any_process() -> None:
    def played(hash_seed: str, seed: str) -> str:
        command = [sys.executable, "-m", "devkit.simulation", "--orders", "100", "--seed", seed]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[1].partition(" s for ")[2]

    first = played("1", "3")
    assert "digest" in first
    assert played("2", "3") == first
    assert played("1", "4") != first


def seen(plan: Plan) -> str:
    """Return what a simulation finds wrong."""
    try:
        return "\n".join(simulate(plan).faults)
    except NotAtRest as error:
        return str(error)


def test_without_a_fault_of_ours_none_is_seen() -> None:
    assert seen(SMALL) == ""


def test_an_outbox_that_forgets_what_was_not_delivered_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Any, row: Any, error: Exception, *, at_fault: bool) -> None:
        self._delivered[row.id] = row

    monkeypatch.setattr(Dispatch, "_not_delivered", forget)
    assert "told are" in seen(replace(SMALL, rates=Rates(lost=0.05)))


def test_a_refund_that_is_told_of_and_not_made_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretend(self: RefundPayment, body: Any, states: Any, context: Any) -> Decision:
        return Decision(publish=[answers.refunded(states[PAYMENTS.stream(body.order_id)])])

    monkeypatch.setattr(RefundPayment, "decide", pretend)
    assert "the bank kept" in seen(SMALL)


def test_a_parcel_that_is_not_called_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def do_nothing(self: CallCarrier, request: Any, effect_id: str) -> BookingWithdrawn:
        return BookingWithdrawn(request.order_id)

    monkeypatch.setattr(CallCarrier, "recall", do_nothing)
    assert "the carrier delivers" in seen(replace(SMALL, orders=200, rates=Rates(long_absence=1.0, crash_at_commit=0.015)))


def test_effects_that_are_lost_with_their_process_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.pipeline.reactors.Reactors._sweep", lambda self, session: None)
    assert "seed 7" in seen(replace(SMALL, most_seconds=2000.0))
