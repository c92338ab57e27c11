from typing import Any

import pytest

from millrace.cqrs.buses import CommandBus, EventBus
from millrace.errors import PublishTimeout, UnknownType
from millrace.message import Message
from shop.order.v1.order_messages_pb2 import OrderCreatedEvent
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand
from shop.types.v1.money_pb2 import Money

CAUSE = Message("t", b"", id="m-2", headers={"ce_correlationid": "m-1"})


def test_a_command_goes_to_the_topic_its_type_declares(publisher: Any) -> None:
    sent = CommandBus(publisher, "/here").send(ChargePaymentCommand(order_id="o-1"), cause=CAUSE)
    (outgoing,) = publisher.sent
    assert outgoing.topic == "payment.request"
    assert outgoing.message is sent
    assert (sent.key, sent.source) == ("o-1", "/here")
    assert sent.headers == {"ce_correlationid": "m-1", "ce_causationid": "m-2"}


def test_an_event_goes_to_the_topic_its_type_declares_with_its_sequence(publisher: Any) -> None:
    EventBus(publisher, "/here").publish(OrderCreatedEvent(order_id="o-1"), sequence=3)
    (outgoing,) = publisher.sent
    assert outgoing.topic == "order.created"
    assert outgoing.message.headers == {"ce_sequence": "3"}


def test_a_type_without_a_topic_is_refused_and_nothing_is_sent(publisher: Any) -> None:
    with pytest.raises(UnknownType):
        CommandBus(publisher, "/here").send(Money())
    with pytest.raises(UnknownType):
        EventBus(publisher, "/here").publish(Money())
    assert publisher.sent == []


def test_a_publisher_that_fails_is_heard(publisher: Any) -> None:
    publisher.fault = PublishTimeout("no answer")
    with pytest.raises(PublishTimeout):
        CommandBus(publisher, "/here").send(ChargePaymentCommand(order_id="o-1"))
    with pytest.raises(PublishTimeout):
        EventBus(publisher, "/here").publish(OrderCreatedEvent(order_id="o-1"))
