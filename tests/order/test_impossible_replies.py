"""An answer that cannot be true of its order is a dead letter, changes nothing, and keeps back what is said of that order next."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.errors import PermanentError
from order_service.domain.commands import PlaceOrder
from order_service.domain.order import OrderStatus
from shop.inventory.v1.inventory_messages_pb2 import ShortLine, StockLine
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench
from shopkit.testing.decider import Decider

Answers = Callable[[str], Mapping[str, Protobuf]]
ANOTHER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c2"
MUGS, POT = StockLine(item_id="mug", quantity=2), StockLine(item_id="pot", quantity=1)
CONFIRMED = ("charged", "reserved")


def faulty(body: Protobuf, **fields: Any) -> Protobuf:
    """Return a message with some fields replaced."""
    made = type(body)()
    made.CopyFrom(body)
    for name, value in fields.items():
        made.ClearField(name)
        if isinstance(value, list):
            getattr(made, name).extend(value)
        elif isinstance(value, Protobuf):
            getattr(made, name).CopyFrom(value)
        else:
            setattr(made, name, value)
    return made


@pytest.fixture
def placed(decider: Decider, placing: Callable[..., PlaceOrder]) -> PlaceOrder:
    command = placing()
    decider.order(command.order_id, command)
    decider.told()
    return command


@pytest.mark.parametrize(
    ("before", "name", "fields", "fault"),
    [
        ([], "charged", {"amount": Money(currency="EUR", minor_units=-1)}, "amount"),
        ([], "charged", {"amount": Money(currency="USD", minor_units=4297)}, "amount"),
        ([], "charged", {"amount": Money(currency="EUR", minor_units=4296)}, "amount"),
        ([], "charged", {"amount": Money()}, "amount"),
        (["charged"], "reserved", {"lines": []}, "lines"),
        (["charged"], "reserved", {"lines": [MUGS]}, "lines"),
        (["charged"], "reserved", {"lines": [POT, POT, MUGS]}, "lines"),
        (["charged"], "short", {"short": [ShortLine(item_id="cup", requested=2, available=1)]}, r"short\[0\].requested"),
        (["charged"], "short", {"short": [ShortLine(item_id="mug", requested=2, available=2)]}, r"short\[0\].available"),
        (["charged"], "short", {"short": [ShortLine(item_id="mug", requested=2, available=-1)]}, r"short\[0\].available"),
        (["charged", "short"], "refunded", {"amount": Money(currency="EUR", minor_units=4298)}, "amount"),
        (["charged", "short"], "refunded", {"amount": Money(currency="USD")}, "amount.currency"),
        (CONFIRMED, "scheduled", {"customer_id": ANOTHER}, "customer_id"),
        (CONFIRMED, "scheduled", {"tracking_number": ""}, "tracking_number"),
        (CONFIRMED, "delayed", {"customer_id": ANOTHER}, "customer_id"),
        (CONFIRMED, "failed", {"customer_id": ANOTHER}, "customer_id"),
        ((*CONFIRMED, "failed"), "released", {"lines": [MUGS]}, "lines"),
        ((*CONFIRMED, "scheduled"), "shipped", {"lines": [MUGS]}, "lines"),
        ((*CONFIRMED, "scheduled"), "delivered", {"customer_id": ANOTHER}, "customer_id"),
    ],
)
def test_it_is_a_dead_letter_and_the_saga_does_not_take_it(
    decider: Decider,
    placed: PlaceOrder,
    answers: Answers,
    before: Sequence[str],
    name: str,
    fields: Mapping[str, Any],
    fault: str,
) -> None:
    said = answers(placed.order_id)
    decider.tell(*(said[each] for each in before))
    decider.told()
    saga = decider.rows("SELECT state FROM stream WHERE id LIKE 'saga-%'")
    [result] = decider.tell(faulty(said[name], **fields))
    assert isinstance(result.error, PermanentError)
    with pytest.raises(PermanentError, match=f"^{fault}"):
        raise result.error
    [dead] = decider.told()
    assert str(dead).endswith(".dlt")
    assert decider.rows("SELECT state FROM stream WHERE id LIKE 'saga-%'") == saga


def test_it_blocks_its_order_and_no_other(bench: Bench, placing: Callable[..., PlaceOrder], answers: Answers) -> None:
    one, other = placing("one key"), placing("another key")
    for command in (one, other):
        bench.order(command.order_id, command)
    said = answers(one.order_id)
    bench.hear(faulty(said["charged"], amount=Money(currency="EUR", minor_units=-1)))
    behind, passed = bench.hear(said["charged"], answers(other.order_id)["charged"])
    assert behind is None
    assert passed is not None
    assert passed.error is None
    sagas: dict[str, str] = dict(bench.rows("SELECT id, state FROM stream WHERE id LIKE 'saga-%'"))
    assert '"succeeded"' not in sagas[f"saga-{one.order_id}"]
    assert '"succeeded"' in sagas[f"saga-{other.order_id}"]
    assert bench.rows("SELECT state FROM parked ORDER BY seq") == [("dead",), ("retry",)]


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["declined", "refunded"], OrderStatus.CANCELLED),
        (["charged", "short", "refunded nothing"], OrderStatus.CANCELLED),
        ([*CONFIRMED, "failed", "released nothing", "refunded"], OrderStatus.CANCELLED),
        ([*CONFIRMED, "scheduled", "shipped", "delivered"], OrderStatus.COMPLETED),
        ([*CONFIRMED, "charged", "reserved", "scheduled", "scheduled"], OrderStatus.COMPLETED),
    ],
)
def test_answers_that_can_be_true_are_taken_also_when_nobody_waits_for_them(
    decider: Decider, placed: PlaceOrder, answers: Answers, names: Sequence[str], status: OrderStatus
) -> None:
    results = decider.tell(*(answers(placed.order_id)[name] for name in names))
    assert [result.error for result in results] == [None] * len(names)
    assert decider.rows("SELECT status FROM order_view") == [(status.value,)]


@pytest.mark.parametrize("name", ["charged", "declined", "released nothing", "delivered"])
def test_an_answer_about_an_order_that_nobody_placed_is_a_dead_letter(decider: Decider, answers: Answers, name: str) -> None:
    [result] = decider.tell(answers("6f3f0d52-4c7e-4f8e-9d53-00000000dead")[name])
    assert isinstance(result.error, PermanentError)
    assert "there is no order" in str(result.error)
