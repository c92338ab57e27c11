"""A partner that does not answer is asked again until its deadline, and then the order is undone as if it had acted."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from order_service.application.saga import SagaTiming, order_saga
from order_service.bootstrap import parts
from order_service.config import Config
from order_service.domain.commands import PlaceOrder
from shopkit.testing.decider import Decider

Answers = Callable[[str], Mapping[str, Protobuf]]
SECOND = timedelta(seconds=1)


def names(told: list[Protobuf]) -> list[str]:
    return [type(body).__name__ for body in told]


@pytest.fixture
def answer(decider: Decider, placing: Callable[..., PlaceOrder], answers: Answers) -> Callable[..., list[str]]:
    """Place an order, and give what hears answers to it and returns what is told then."""
    command = placing()
    decider.order(command.order_id, command)

    def hear(*heard: str) -> list[str]:
        for name in heard:
            decider.tell(answers(command.order_id)[name])
        return names(decider.told())

    return hear


def test_payment_is_asked_four_times_each_time_for_twice_as_long_and_then_refunded(
    decider: Decider, answer: Callable[..., list[str]]
) -> None:
    assert answer() == ["OrderCreatedEvent", "ChargePaymentCommand"]
    for seconds in (10, 20, 40):
        decider.clock.skip(timedelta(seconds=seconds) - SECOND)
        assert decider.fire() == 0
        decider.clock.skip(SECOND)
        assert decider.fire() == 1
        assert names(decider.told()) == ["ChargePaymentCommand"]
    decider.clock.skip(80 * SECOND)
    decider.fire()
    assert names(decider.told()) == ["RefundPaymentCommand"]
    assert answer("charged") == []
    assert answer("refunded nothing") == ["OrderCancelledEvent"]
    assert decider.rows("SELECT status FROM order_view") == [("cancelled",)]


def test_a_deadline_begins_when_kafka_has_the_question(decider: Decider, answer: Callable[..., list[str]]) -> None:
    decider.clock.skip(timedelta(hours=1))
    assert decider.fire() == 0
    answer()
    assert decider.fire() == 0
    decider.clock.skip(10 * SECOND)
    assert decider.fire() == 1


def test_stock_that_is_not_answered_for_is_released_and_the_payment_refunded(
    decider: Decider, answer: Callable[..., list[str]]
) -> None:
    answer("charged")
    for _ in range(4):
        decider.clock.skip(timedelta(minutes=5))
        decider.fire()
        told = names(decider.told())
    assert told == ["ReleaseStockCommand"]
    assert answer("released nothing") == ["RefundPaymentCommand"]
    assert answer("refunded") == ["OrderCancelledEvent"]


def test_shipping_is_asked_once_since_an_event_is_told_once(decider: Decider, answer: Callable[..., list[str]]) -> None:
    answer("charged", "reserved")
    decider.clock.skip(timedelta(minutes=5) - SECOND)
    assert decider.fire() == 0
    decider.clock.skip(SECOND)
    assert decider.fire() == 1
    assert names(decider.told()) == ["ReleaseStockCommand"]
    assert answer("scheduled") == []
    assert answer("released") == ["RefundPaymentCommand"]
    assert answer("refunded") == ["OrderCancelledEvent"]


def test_stock_is_asked_to_leave_until_it_has(decider: Decider, answer: Callable[..., list[str]]) -> None:
    answer("charged", "reserved", "scheduled")
    for _ in range(10):
        decider.clock.skip(timedelta(minutes=5))
        assert decider.fire() == 1
        assert names(decider.told()) == ["ShipStockCommand"]
    assert answer("shipped") == []
    decider.clock.skip(timedelta(hours=1))
    assert decider.fire() == 0


def test_a_deadline_waits_until_answers_that_came_in_time_are_read(config: Callable[..., Config]) -> None:
    saga = order_saga(SagaTiming())
    assert set(parts(config()).reply_topics) == {route_of(reply).topic for reply in saga.replies()}
