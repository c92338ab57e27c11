"""A saga ends completed or compensated, whatever comes back, in whatever order, however often."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from google.protobuf.message import Message as Protobuf
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.decision import StartTimer, TimerFired
from millrace.saga import (
    Request,
    SagaDefinition,
    SagaProcess,
    SagaState,
    SagaStatus,
    Step,
    StepStatus,
    Turn,
    evolve_saga,
    saga_stream,
)
from millrace.saga.state import SAGA_EVENTS
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

RESERVE: Step[str] = Step(
    "reserve", [inventory.StockReservedEvent], lambda order: inventory.ReserveStockCommand(order_id=order),
    [inventory.StockShortEvent], lambda order, _: inventory.ReleaseStockCommand(order_id=order), [inventory.StockReleasedEvent],
    answer_within=SECOND, attempts=2,
)  # fmt: skip
CHARGE: Step[str] = Step(
    "charge", [payment.PaymentChargedEvent], lambda order: payment.ChargePaymentCommand(order_id=order), [payment.PaymentDeclinedEvent],
    lambda order, why: payment.RefundPaymentCommand(order_id=order, reason=why), [payment.PaymentRefundedEvent], answer_within=SECOND, attempts=3,
)  # fmt: skip
SCHEDULE: Step[str] = Step("schedule", [shipping.ShippingScheduledEvent], failed_by=[shipping.ShippingFailedEvent], attempts=2)
SHIP: Step[str] = Step(
    "ship", [inventory.StockShippedEvent], lambda order: inventory.ShipStockCommand(order_id=order), answer_within=SECOND,
    attempts=None, longest_wait=4 * SECOND,
)  # fmt: skip
ORDER: SagaDefinition[str] = SagaDefinition("order", (RESERVE, CHARGE, SCHEDULE, SHIP))

RESERVED, SHORT, RELEASED = inventory.StockReservedEvent(), inventory.StockShortEvent(), inventory.StockReleasedEvent()
CHARGED, DECLINED, REFUNDED = payment.PaymentChargedEvent(), payment.PaymentDeclinedEvent(), payment.PaymentRefundedEvent()
SCHEDULED, NOT_SCHEDULED = shipping.ShippingScheduledEvent(), shipping.ShippingFailedEvent()
SHIPPED = inventory.StockShippedEvent()
SUCCESSES: Sequence[Protobuf] = (RESERVED, CHARGED, SCHEDULED, SHIPPED)
FAILURES: Sequence[Protobuf] = (SHORT, DECLINED, NOT_SCHEDULED)


class Running:
    """A saga under test, with everything it ever asked for."""

    def __init__(self) -> None:
        self.state = SagaState()
        self.turn = Turn(self.state)
        self.asked: list[Request] = []
        self.timers: dict[str, StartTimer] = {}
        self.events: list[object] = []

    def process(self) -> SagaProcess[str]:
        return SagaProcess(ORDER, "o-1", self.state, "o-1", NOW)

    def take(self, turn: Turn) -> Turn:
        self.turn, self.state = turn, turn.state
        self.asked += turn.requests
        self.events += turn.events
        for timer_id in turn.cancel_timers:
            self.timers.pop(timer_id, None)
        self.timers.update((request.deadline.id, request.deadline) for request in turn.requests)
        return turn

    def start(self) -> Turn:
        return self.take(self.process().start())

    def reply(self, *bodies: Protobuf) -> Turn:
        for body in bodies:
            self.take(self.process().reply(body, "because"))
        return self.turn

    def abort(self) -> Turn:
        return self.take(self.process().abort("cancelled"))

    def fire(self, timer: StartTimer) -> Turn:
        self.timers.pop(timer.id, None)
        return self.take(self.process().timer(TimerFired(timer.id, timer.kind, "o-1", timer.attempt)))

    def fire_all(self) -> Turn:
        for timer in list(self.timers.values()):
            self.fire(timer)
        return self.turn

    def status(self) -> SagaStatus:
        return self.state.status

    def names(self) -> list[str]:
        """Return what was asked for: the class asked with, or the step where the owner's event asks."""
        return [request.step if request.body is None else type(request.body).__name__ for request in self.asked]


@pytest.fixture
def saga() -> Running:
    running = Running()
    running.start()
    return running


def test_the_first_step_is_asked_for_at_the_start_and_only_once(saga: Running) -> None:
    assert saga.names() == ["ReserveStockCommand"]
    assert saga.asked[0].body == inventory.ReserveStockCommand(order_id="o-1")
    assert saga.asked[0].deadline == StartTimer("order:o-1:reserve:ask", "order", SECOND, 1)
    assert saga.start().events == []
    assert len(saga.asked) == 1


def test_each_success_asks_for_the_next_step_until_the_saga_is_completed(saga: Running) -> None:
    saga.reply(*SUCCESSES)
    assert saga.names() == ["ReserveStockCommand", "ChargePaymentCommand", "schedule", "ShipStockCommand"]
    assert saga.status() is SagaStatus.COMPLETED
    assert saga.state.finished
    assert saga.timers == {}
    assert all(step.status is StepStatus.SUCCEEDED for step in saga.state.steps)


@pytest.mark.parametrize(("failing", "undone"), [(0, []), (1, ["reserve"]), (2, ["charge", "reserve"])])
def test_a_failed_step_undoes_those_that_succeeded_backwards_and_one_at_a_time(
    saga: Running, failing: int, undone: list[str]
) -> None:
    saga.reply(*SUCCESSES[:failing])
    forward = len(saga.asked)
    saga.reply(FAILURES[failing])
    answers = {"charge": REFUNDED, "reserve": RELEASED}
    for number, step in enumerate(undone, start=1):
        assert [request.step for request in saga.asked[forward:]] == undone[:number]
        assert saga.status() is SagaStatus.COMPENSATING
        saga.reply(answers[step])
    assert [request.step for request in saga.asked[forward:]] == undone
    assert saga.status() is SagaStatus.COMPENSATED
    assert saga.state.reason == "because"
    assert saga.state.steps[failing].status is StepStatus.FAILED
    assert saga.timers == {}


@pytest.mark.parametrize(("reached", "undone"), [(0, ["reserve"]), (1, ["charge", "reserve"]), (2, ["charge", "reserve"])])
def test_aborting_undoes_also_the_step_under_way_whose_outcome_is_unknown(saga: Running, reached: int, undone: list[str]) -> None:
    saga.reply(*SUCCESSES[:reached])
    forward = len(saga.asked)
    saga.abort()
    assert saga.state.steps[reached].status in (StepStatus.UNKNOWN, StepStatus.COMPENSATING)
    for _ in undone:
        saga.reply(REFUNDED, RELEASED)
    assert [request.step for request in saga.asked[forward:]] == undone
    assert saga.status() is SagaStatus.COMPENSATED
    assert saga.state.reason == "cancelled"


def test_a_compensation_is_told_why_the_saga_turned_back_also_in_the_turn_in_which_it_does(saga: Running) -> None:
    saga.reply(RESERVED)
    saga.abort()
    assert saga.asked[-1].body == payment.RefundPaymentCommand(order_id="o-1", reason="cancelled")
    [deadline] = saga.timers.values()
    saga.fire(deadline)
    assert saga.asked[-1].body == payment.RefundPaymentCommand(order_id="o-1", reason="cancelled")


def test_aborting_twice_or_after_the_end_changes_nothing(saga: Running) -> None:
    saga.abort()
    assert saga.abort().events == []
    saga.reply(RELEASED)
    assert saga.abort().events == []
    completed = Running()
    completed.start()
    completed.reply(*SUCCESSES)
    assert completed.abort().events == []


def test_an_unanswered_step_is_asked_for_again_with_longer_deadlines_and_then_given_up(saga: Running) -> None:
    saga.reply(RESERVED)
    for attempt, wait in ((1, 1), (2, 2), (3, 4)):
        timer = saga.timers["order:o-1:charge:ask"]
        assert (timer.attempt, timer.delay) == (attempt, wait * SECOND)
        saga.fire(timer)
    assert saga.names()[1:] == ["ChargePaymentCommand"] * 3 + ["RefundPaymentCommand"]
    assert saga.status() is SagaStatus.COMPENSATING
    assert saga.state.reason == "charge gave no answer"
    saga.reply(REFUNDED, RELEASED)
    assert saga.status() is SagaStatus.COMPENSATED


def test_a_step_behind_the_point_of_no_return_is_asked_for_until_it_is_answered(saga: Running) -> None:
    saga.reply(RESERVED, CHARGED, SCHEDULED)
    delays = []
    for _ in range(40):
        timer = saga.timers["order:o-1:ship:ask"]
        delays.append(timer.delay)
        saga.fire(timer)
    assert delays[:4] == [SECOND, 2 * SECOND, 4 * SECOND, 4 * SECOND]
    assert max(delays) == 4 * SECOND
    assert saga.status() is SagaStatus.RUNNING
    saga.reply(SHIPPED)
    assert saga.status() is SagaStatus.COMPLETED


def test_a_compensation_is_asked_for_until_it_is_answered(saga: Running) -> None:
    saga.abort()
    for attempt in range(1, 30):
        timer = saga.timers["order:o-1:reserve:undo"]
        assert timer.attempt == attempt
        saga.fire(timer)
    assert saga.names() == ["ReserveStockCommand"] + ["ReleaseStockCommand"] * 30
    saga.reply(RELEASED)
    assert saga.status() is SagaStatus.COMPENSATED


def test_a_stale_timer_does_nothing(saga: Running) -> None:
    first = saga.timers["order:o-1:reserve:ask"]
    saga.fire(first)
    assert saga.fire(first).events == []
    saga.reply(RESERVED)
    assert saga.fire(StartTimer(first.id, "order", SECOND, 2)).events == []
    assert saga.fire(StartTimer("order:o-1:nothing:ask", "order", SECOND, 1)).events == []
    saga.abort()
    ask = StartTimer("order:o-1:charge:ask", "order", SECOND, 1)
    assert saga.fire(ask).events == []


def test_a_reply_cancels_its_deadline(saga: Running) -> None:
    assert saga.reply(RESERVED).cancel_timers == ["order:o-1:reserve:ask"]
    assert saga.reply(DECLINED).cancel_timers == ["order:o-1:charge:ask"]
    assert saga.reply(RELEASED).cancel_timers == ["order:o-1:reserve:undo"]


def test_a_reply_that_comes_after_its_step_was_given_up_changes_nothing(saga: Running) -> None:
    saga.fire_all()
    saga.fire_all()
    assert saga.status() is SagaStatus.COMPENSATING
    for late in (RESERVED, SHORT, CHARGED):
        assert saga.reply(late).events == []
    saga.reply(RELEASED)
    assert saga.status() is SagaStatus.COMPENSATED
    for later in (RESERVED, RELEASED, SHORT):
        assert saga.reply(later).events == []


def test_a_reply_before_the_start_and_one_to_a_step_not_asked_for_change_nothing() -> None:
    saga = Running()
    assert saga.reply(RESERVED).events == []
    assert saga.abort().events == []
    saga.start()
    assert saga.reply(CHARGED, RELEASED).events == []


def test_a_duplicate_reply_changes_nothing(saga: Running) -> None:
    saga.reply(RESERVED)
    assert saga.reply(RESERVED).events == []
    assert saga.names() == ["ReserveStockCommand", "ChargePaymentCommand"]


def test_the_state_survives_being_written_and_replayed(saga: Running) -> None:
    saga.reply(RESERVED, DECLINED, RELEASED)
    assert msgspec.json.decode(msgspec.json.encode(saga.state), type=SagaState) == saga.state
    events = [msgspec.json.decode(msgspec.json.encode(event), type=type(event)) for event in saga.events]
    state = SagaState()
    for event in events:
        state = evolve_saga(state, event)
    assert state == saga.state
    assert set(map(type, events)) <= set(SAGA_EVENTS) == set(saga_stream("saga").events)


def test_a_definition_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        SagaDefinition("s", (RESERVE, RESERVE))
    with pytest.raises(ValueError, match="names of their own"):
        SagaDefinition("s", ())
    with pytest.raises(ValueError, match="both a compensation"):
        SagaDefinition("s", (Step("a", [inventory.StockReservedEvent], compensated_by=[inventory.StockReleasedEvent]),))
    with pytest.raises(ValueError, match="succeeded"):
        SagaDefinition("s", (Step("a", []),))


PARTNERS = {
    "ReserveStockCommand": (RESERVED, SHORT), "ChargePaymentCommand": (CHARGED, DECLINED), "schedule": (SCHEDULED, NOT_SCHEDULED),
    "ShipStockCommand": (SHIPPED,), "ReleaseStockCommand": (RELEASED,), "RefundPaymentCommand": (REFUNDED,),
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_interleaving_ends_completed_or_compensated_and_undoes_only_what_was_asked_for(data: st.DataObject) -> None:
    """Replies come late, twice and out of order, timers fire early, also stale ones, somebody aborts; then every partner answers."""
    saga = Running()
    saga.start()
    verdicts: dict[str, Protobuf] = {}
    fired: list[StartTimer] = []

    def answers() -> list[Protobuf]:
        """Return what partners may have sent: one verdict for each thing asked for, which repetition does not change."""
        for name in saga.names():
            if name not in verdicts:
                verdicts[name] = data.draw(st.sampled_from(PARTNERS[name]), label=name)
        return list(verdicts.values())

    for _ in range(data.draw(st.integers(0, 25))):
        match data.draw(st.sampled_from(["reply", "reply", "reply", "timer", "stale", "abort"])):
            case "reply":
                saga.reply(data.draw(st.sampled_from(answers())))
            case "timer" if saga.timers:
                fired.append(data.draw(st.sampled_from(sorted(saga.timers.values(), key=lambda timer: timer.id))))
                saga.fire(fired[-1])
            case "stale" if fired:
                stale = data.draw(st.sampled_from(fired))
                before = saga.timers.get(stale.id)
                saga.fire(stale)
                if before is not None and before.attempt != stale.attempt:
                    saga.timers.setdefault(before.id, before)
            case "abort" if data.draw(st.booleans()):
                saga.abort()
    for _ in range(20):
        if saga.state.finished:
            break
        assert saga.timers, f"nothing will ever wake it: {saga.state}"
        saga.reply(*answers())
    assert saga.state.finished, saga.state
    asked = saga.names()
    for undo, do in (("ReleaseStockCommand", "ReserveStockCommand"), ("RefundPaymentCommand", "ChargePaymentCommand")):
        assert undo not in asked or asked.index(do) < asked.index(undo)
    ends = [type(event).__name__ for event in saga.events if type(event).__name__ in ("SagaCompleted", "SagaCompensated")]
    assert len(ends) == 1
    compensated = [event.step for event in saga.events if type(event).__name__ == "StepCompensated"]  # type: ignore[attr-defined]
    assert len(set(compensated)) == len(compensated)
    if saga.status() is SagaStatus.COMPENSATED:
        assert all(
            step.status not in (StepStatus.SUCCEEDED, StepStatus.REQUESTED)
            for step in saga.state.steps
            if step.name in ("reserve", "charge")
        )
    else:
        assert all(step.status is StepStatus.SUCCEEDED for step in saga.state.steps)
