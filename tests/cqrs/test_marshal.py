from datetime import UTC, datetime
from uuid import UUID

import pytest

from millrace.cqrs.marshal import caused_by, marshal
from millrace.envelope import encode_headers
from millrace.errors import Invalid, UnknownType
from millrace.message import Message
from shop.order.v1.order_messages_pb2 import OrderCreatedEvent
from shop.types.v1.money_pb2 import Money

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_body_becomes_a_message_to_the_topic_of_its_type_under_its_key() -> None:
    body = OrderCreatedEvent(order_id="o-1", sequence=4)
    outgoing = marshal(body, source="/orders", headers={"traceparent": "x"}, sequence=4, time=NOON, message_id="m-1")
    assert outgoing.topic == "order.created"
    assert outgoing.message == Message(
        type="shop.order.v1.OrderCreatedEvent",
        payload=body.SerializeToString(),
        key="o-1",
        source="/orders",
        id="m-1",
        time=NOON,
        headers={"traceparent": "x", "ce_sequence": "4"},
    )


def test_the_same_arguments_give_the_same_bytes() -> None:
    first, second = (
        marshal(OrderCreatedEvent(order_id="o-1"), source="s", sequence=1, time=NOON, message_id="m") for _ in range(2)
    )
    assert encode_headers(first.message) == encode_headers(second.message)
    assert first.message.payload == second.message.payload


def test_every_message_has_an_id_of_its_own_and_an_aware_time() -> None:
    first, second = (marshal(OrderCreatedEvent(order_id="o-1"), source="s").message for _ in range(2))
    assert UUID(first.id).version == UUID(second.id).version == 4
    assert first.id != second.id
    assert first.time.tzinfo is not None


def test_a_body_that_cannot_travel_is_refused() -> None:
    with pytest.raises(UnknownType):
        marshal(Money(currency="EUR"), source="s")
    with pytest.raises(Invalid):
        marshal(OrderCreatedEvent(), source="s")


def test_the_first_message_of_a_chain_gives_the_chain_its_id() -> None:
    assert caused_by(Message("t", b"", id="m-1")) == {"ce_correlationid": "m-1", "ce_causationid": "m-1"}


def test_a_later_message_passes_the_chains_id_on_and_names_its_own_cause() -> None:
    later = Message("t", b"", id="m-2", headers={"ce_correlationid": "m-1", "ce_causationid": "m-1"})
    assert caused_by(later) == {"ce_correlationid": "m-1", "ce_causationid": "m-2"}
