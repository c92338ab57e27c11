"""What the order service tells of an order: each message with its whole status, under a sequence without gaps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message as Protobuf

from order_service.domain.commands import PlaceOrder
from shop.order.v1 import order_messages_pb2 as wire
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench, Sent

KINDS: Mapping[str, type[Any]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (wire.OrderCreatedEvent, wire.OrderConfirmedEvent, wire.OrderCompletedEvent, wire.OrderCancelledEvent)
}
CREATED = ("order.created", wire.ORDER_STATUS_PENDING)
CONFIRMED = ("order.confirmed", wire.ORDER_STATUS_CONFIRMED)
COMPLETED = ("order.completed", wire.ORDER_STATUS_COMPLETED)
CANCELLED = ("order.cancelled", wire.ORDER_STATUS_CANCELLED)


@pytest.fixture
def told(bench: Bench, placing: Callable[..., PlaceOrder], answers: Callable[[str], Mapping[str, Protobuf]]) -> Any:
    """Give what is told of an order whose partners answer so."""

    def run(*names: str) -> list[tuple[Sent, Any]]:
        command = placing()
        bench.order(command.order_id, command)
        for name in names:
            bench.hear(answers(command.order_id)[name])
        own = [sent for sent in bench.sent() if sent.topic.startswith("order.")]
        return [(sent, sent.body(KINDS[sent.headers["ce_type"]])) for sent in own]

    return run


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["charged", "reserved", "scheduled", "shipped"], [CREATED, CONFIRMED, COMPLETED]),
        (["charged", "reserved", "delayed", "shipped"], [CREATED, CONFIRMED, COMPLETED]),
        (["declined"], [CREATED, CANCELLED]),
        (["charged", "short", "refunded"], [CREATED, CANCELLED]),
        (["charged", "reserved", "failed", "released", "refunded"], [CREATED, CONFIRMED, CANCELLED]),
    ],
    ids=["happy", "delayed", "declined", "short", "refused by the carrier"],
)
def test_each_message_has_the_whole_status_and_the_next_sequence(
    told: Any, names: Sequence[str], wanted: Sequence[tuple[str, int]]
) -> None:
    found = told(*names)
    assert [(sent.topic, body.status) for sent, body in found] == wanted
    assert [body.sequence for _, body in found] == list(range(1, len(wanted) + 1))
    for sent, body in found:
        assert sent.headers["ce_sequence"] == str(body.sequence)
        assert [(line.item_id, line.name, line.quantity, line.price.minor_units) for line in body.items] == [
            ("mug", "Mug", 2, 899),
            ("pot", "Pot", 1, 2499),
        ]
        assert body.total_amount == Money(currency="EUR", minor_units=4297)
        assert body.customer_id


@pytest.mark.parametrize(("answer", "delayed"), [("scheduled", False), ("delayed", True)])
def test_a_completed_order_says_whether_it_will_be_late(told: Any, answer: str, delayed: bool) -> None:
    _, body = told("charged", "reserved", answer)[-1]
    assert body.delayed is delayed


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["declined"], "payment declined: card declined"),
        (["charged", "short", "refunded"], "stock short: mug (2 wanted, 1 there)"),
        (["charged", "reserved", "failed", "released", "refunded"], "shipping failed: no carrier"),
    ],
)
def test_a_cancelled_order_says_why(told: Any, names: Sequence[str], reason: str) -> None:
    _, body = told(*names)[-1]
    assert body.reason == reason


def test_an_answer_that_comes_twice_is_told_once(told: Any) -> None:
    assert len(told("charged", "charged", "reserved", "charged", "reserved", "scheduled", "delayed", "scheduled")) == 3
