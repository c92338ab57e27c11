"""A saga under way goes on when its definition changes, as in a rolling upgrade: it keeps the steps that it began with."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.decision import TimerFired
from millrace.errors import TransientError
from millrace.saga import SagaDefinition, SagaProcess, SagaState, SagaStatus, Step, StepStatus, Turn
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHARGE: Step[str] = Step(
    "charge", [payment.PaymentChargedEvent], lambda order: payment.ChargePaymentCommand(order_id=order), [payment.PaymentDeclinedEvent],
    lambda order, _: payment.RefundPaymentCommand(order_id=order), [payment.PaymentRefundedEvent], attempts=2,
)  # fmt: skip
RESERVE: Step[str] = Step(
    "reserve", [inventory.StockReservedEvent], lambda order: inventory.ReserveStockCommand(order_id=order),
    [inventory.StockShortEvent], lambda order, _: inventory.ReleaseStockCommand(order_id=order), [inventory.StockReleasedEvent],
    attempts=1,
)  # fmt: skip
SHIP: Step[str] = Step(
    "ship", [inventory.StockShippedEvent], lambda order: inventory.ShipStockCommand(order_id=order), attempts=None
)
LONG = SagaDefinition("order", (CHARGE, RESERVE, SHIP))
SHORT = SagaDefinition("order", (CHARGE, SHIP))
WITHOUT_RESERVE = SagaDefinition("order", (CHARGE, SHIP), retired=("reserve",))
CHARGED, RESERVED, SHIPPED = payment.PaymentChargedEvent(), inventory.StockReservedEvent(), inventory.StockShippedEvent()
REFUNDED, RELEASED = payment.PaymentRefundedEvent(), inventory.StockReleasedEvent()


def run(definition: SagaDefinition[str], state: SagaState, *happenings: Protobuf | str) -> Turn:
    """Have a saga start, take answers, be aborted, or find that a deadline has passed; return the last turn."""
    turn = Turn(state)
    for happening in happenings:
        process = SagaProcess(definition, "o-1", turn.state, "o-1", NOW)
        if isinstance(happening, Protobuf):
            turn = process.reply(happening, "because")
        elif happening == "start":
            turn = process.start()
        elif happening == "abort":
            turn = process.abort("cancelled")
        else:
            name = happening.split(":")[0]
            turn = process.timer(TimerFired(f"order:o-1:{happening}", "order", "o-1", turn.state.step(name).attempts))
    return turn


def asked(turn: Turn) -> list[str]:
    return [type(request.body).__name__ for request in turn.requests]


def statuses(turn: Turn) -> list[StepStatus]:
    return [step.status for step in turn.state.steps]


@pytest.mark.parametrize(
    ("happenings", "status"),
    [
        ([CHARGED, SHIPPED], SagaStatus.COMPLETED),
        (["charge:ask", CHARGED, SHIPPED], SagaStatus.COMPLETED),
        (["charge:ask", "charge:ask", REFUNDED], SagaStatus.COMPENSATED),
        (["abort", "charge:undo", REFUNDED], SagaStatus.COMPENSATED),
        ([CHARGED, "abort", REFUNDED], SagaStatus.COMPENSATED),
    ],
)
def test_a_step_added_later_is_not_asked_of_a_saga_that_began_without_it(
    happenings: Sequence[Protobuf | str], status: SagaStatus
) -> None:
    began = run(SHORT, SagaState(), "start").state
    turn = run(LONG, began, *happenings)
    assert turn.state.status is status
    assert [step.name for step in turn.state.steps] == ["charge", "ship"]


def test_a_retired_step_that_was_not_asked_for_is_passed_over() -> None:
    began = run(LONG, SagaState(), "start").state
    turn = run(WITHOUT_RESERVE, began, CHARGED)
    assert asked(turn) == ["ShipStockCommand"]
    turn = run(WITHOUT_RESERVE, turn.state, SHIPPED)
    assert turn.state.status is SagaStatus.COMPLETED
    assert statuses(turn) == [StepStatus.SUCCEEDED, StepStatus.PENDING, StepStatus.SUCCEEDED]


def test_a_retired_step_that_was_asked_for_is_waited_for_until_its_deadline_and_no_longer() -> None:
    waiting = run(LONG, SagaState(), "start", CHARGED).state
    assert run(WITHOUT_RESERVE, waiting, RESERVED).events == []
    turn = run(WITHOUT_RESERVE, waiting, "reserve:ask")
    assert asked(turn) == ["ShipStockCommand"]
    assert turn.state.step("reserve").status is StepStatus.UNKNOWN


def test_a_retired_step_is_not_undone_and_what_came_before_it_is() -> None:
    waiting = run(LONG, SagaState(), "start", CHARGED, RESERVED).state
    turn = run(WITHOUT_RESERVE, waiting, "abort")
    assert asked(turn) == ["RefundPaymentCommand"]
    undoing = run(LONG, waiting, "abort")
    assert asked(undoing) == ["ReleaseStockCommand"]
    turn = run(WITHOUT_RESERVE, undoing.state, "reserve:undo")
    assert asked(turn) == ["RefundPaymentCommand"]
    assert run(WITHOUT_RESERVE, turn.state, REFUNDED).state.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize(
    ("before", "happening"),
    [
        (["start"], CHARGED),
        (["start", CHARGED], RESERVED),
        (["start", CHARGED], "reserve:ask"),
        (["start", CHARGED, RESERVED], "abort"),
        (["start", CHARGED, RESERVED, "abort"], RELEASED),
        (["start", CHARGED, RESERVED, "abort"], "reserve:undo"),
    ],
)
def test_a_step_that_only_a_newer_version_knows_is_left_to_it(
    before: Sequence[Protobuf | str], happening: Protobuf | str
) -> None:
    state = run(LONG, SagaState(), *before).state
    with pytest.raises(TransientError, match="no step reserve here"):
        run(SHORT, state, happening)
    assert run(LONG, state, happening).events


def test_a_reply_of_a_new_name_is_taken_by_a_saga_that_asked_before_the_renaming() -> None:
    renamed = Step("charge", [shipping.ShippingScheduledEvent], CHARGE.command, attempts=2)
    waiting = run(SHORT, SagaState(), "start").state
    now = SagaDefinition("order", (renamed, SHIP))
    assert run(now, waiting, CHARGED).events == []
    assert asked(run(now, waiting, "charge:ask")) == ["ChargePaymentCommand"]
    assert asked(run(now, waiting, shipping.ShippingScheduledEvent())) == ["ShipStockCommand"]


def test_a_step_cannot_be_both_declared_and_retired() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        SagaDefinition("order", (CHARGE,), retired=("charge",))


def test_deadlines_of_a_saga_under_way_are_those_declared_now() -> None:
    waiting = run(SHORT, SagaState(), "start").state
    slower = Step("charge", CHARGE.succeeded_by, CHARGE.command, attempts=2, answer_within=timedelta(minutes=1))
    [request] = run(SagaDefinition("order", (slower, SHIP)), waiting, "charge:ask").requests
    assert request.deadline.delay == timedelta(minutes=2)
