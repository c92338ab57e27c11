"""No bytes on any topic end a service: each record of every message type is understood, or is a dead letter, and what follows is handled."""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devkit.simulation.mishaps import Rates
from devkit.simulation.outside import Bank, Postbox, Van
from devkit.simulation.shop import PRICES, open_shop
from millrace.cqrs.registry import TypeRegistry
from millrace.dead_letters.published import letter_of
from millrace.envelope import decode
from millrace.errors import PermanentError, Undecodable
from millrace.message import Record
from millrace.pipeline.decoding import Decoder
from millrace.pipeline.inputs import pack_record, unpack_record
from millrace.testing.builders import record
from millrace.testing.world import World
from order_service.domain.order import ORDERS as ORDER_STREAMS
from order_service.domain.order import OrderStatus
from shop.inventory.v1 import inventory_messages_pb2
from shop.notification.v1 import notification_messages_pb2
from shop.order.v1 import order_messages_pb2
from shop.order.v1.order_service_pb2 import OrderLine, PlaceOrderRequest
from shop.payment.v1 import payment_messages_pb2
from shop.shipping.v1 import shipping_messages_pb2
from shop.types.v1.money_pb2 import Money

REGISTRY = TypeRegistry.from_modules(
    order_messages_pb2, payment_messages_pb2, inventory_messages_pb2, shipping_messages_pb2, notification_messages_pb2
)
DECODER = Decoder(REGISTRY)
TYPES = sorted(REGISTRY, key=lambda kind: kind.DESCRIPTOR.full_name)
CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
ORDERS = [f"6f3f0d52-4c7e-4f8e-9d53-00000000000{number}" for number in range(3)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Write no log: each of these records is told of there."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


NAMES = st.one_of(
    st.sampled_from([
        "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type", "ce_sequence", "ce_correlationid", "traceparent",
        "x-millrace-for", "x-millrace-partition", "x-millrace-offset", "x-millrace-attempts", "x-millrace-topic", "x-millrace-error",
        "x-millrace-handler", "x-millrace-parked",
    ]),
    st.text(max_size=10),
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.binary(max_size=40), st.sampled_from([b"1.0", b"application/protobuf", b"2026-01-01T00:00:00Z", b"", b"\x00", b"9" * 5000]),
    st.datetimes().map(lambda time: time.isoformat().encode()),
    st.sampled_from([b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2026-W01-1T00:00:00Z", b"2026-01-01T24:00:00Z"]),
)  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12).map(tuple)
Headers = tuple[tuple[str, bytes | None], ...]
KEYS = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.uuids().map(lambda key: str(key).encode()),
    st.sampled_from([b"k" * 600, b"a\x00b", b"\xff\x00", b""]),
)


BODIES = st.one_of(st.none(), st.binary(max_size=120))


@st.composite
def whole_records(draw: st.DrawFn, kind: type[Protobuf]) -> Record:
    """Return a record of a type as its sender makes it, with whatever in its fields."""
    body = kind()
    with suppress(DecodeError):
        body.ParseFromString(draw(st.binary(max_size=120)))
    setattr(body, "item_id" if "Item" in kind.__name__ else "order_id", draw(st.sampled_from(ORDERS)))
    return record(body)


@st.composite
def with_one_changed(draw: st.DrawFn, headers: Headers) -> Headers:
    """Return headers, the value of one of them drawn anew."""
    at = draw(st.integers(0, len(headers) - 1))
    return (*headers[:at], (headers[at][0], draw(VALUES)), *headers[at + 1 :])


@st.composite
def records(draw: st.DrawFn, kind: type[Protobuf]) -> Record:
    """Return a record of a type in which key, value and headers are drawn anew, or not."""
    whole = draw(whole_records(kind))
    return replace(
        whole,
        key=draw(st.one_of(st.just(whole.key), KEYS)),
        value=draw(st.one_of(st.just(whole.value), BODIES)),
        headers=draw(st.one_of(st.just(whole.headers), with_one_changed(whole.headers), HEADERS)),
    )


@settings(max_examples=300, deadline=None)
@given(key=KEYS, value=BODIES, headers=HEADERS)
def test_any_headers_are_a_message_or_undecodable(key: bytes | None, value: bytes | None, headers: Any) -> None:
    with suppress(Undecodable):
        found = decode(Record("t", 0, 0, key, value, headers))
        assert found.id
        assert found.time.tzinfo is not None


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_record_of_a_type_is_that_type_or_a_permanent_fault(kind: type[Protobuf], data: st.DataObject) -> None:
    given_record = data.draw(records(kind))
    found = DECODER.decode(given_record)
    assert isinstance(found.body, Protobuf | PermanentError)
    assert len(found.key.encode()) <= 2100
    assert "\x00" not in found.key
    assert unpack_record(pack_record(given_record)) == given_record


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_a_sender_of_ours_writes_is_always_understood(kind: type[Protobuf], data: st.DataObject) -> None:
    assert isinstance(DECODER.decode(data.draw(whole_records(kind))).body, kind)


@settings(max_examples=300, deadline=None)
@given(key=KEYS, value=BODIES, headers=HEADERS)
@example(key=None, value=None, headers=(("x-millrace-offset", b"9" * 5000),))
def test_any_record_on_a_dead_letter_topic_is_shown_as_a_letter(key: bytes | None, value: bytes | None, headers: Any) -> None:
    found = letter_of("t.dlt/0/0", Record("t.dlt", 0, 0, key, value, headers), datetime(2026, 1, 1, tzinfo=UTC))
    assert found.record.value == value
    assert found.record.topic
    assert found.attempts >= 0
    assert json.dumps([found.key, found.reason, found.handler, found.type, found.message_id]).encode()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_record_ends_a_service_or_holds_up_others(data: st.DataObject) -> None:
    """All six services read whatever there is on their topics; then each has handled or parked it, and an order comes to its end."""
    quiet = Rates(*[0.0] * 10)
    chance = Random(0)
    with World() as world:
        shop = open_shop(world, Bank(chance, quiet, lambda _: False), Van(chance, quiet), Postbox(chance), (), vases=5)
        world.settle()
        for kind in data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=12)):
            drawn = data.draw(records(kind))
            world.broker.append(drawn.topic, drawn.key, drawn.value, drawn.headers)
        world.settle()
        request = PlaceOrderRequest(
            customer_id=CUSTOMER,
            idempotency_key="after all that",
            items=[OrderLine(item_id="mug", quantity=1, price=Money(currency="EUR", minor_units=PRICES["mug"]))],
        )
        order_id = shop.services["order"].wait_for(shop.edge.call("PlaceOrder", request)).order_id
        world.skip(timedelta(minutes=1))
        assert shop.services["order"].state(ORDER_STREAMS, order_id).status is OrderStatus.COMPLETED
        assert all(service.is_caught_up() for service in shop.services.values())
