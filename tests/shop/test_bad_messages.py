"""Garbage, unknown types and impossible content on every topic that is read: a dead letter with raw bytes and reason, and the rest of
the partition flows on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from uuid import uuid4

import pytest
from google.protobuf.message import Message as Protobuf

from devkit.stack import Stack, StackSettings
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent, ReserveStockCommand, StockReservedEvent
from shop.order.v1.order_messages_pb2 import (
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderConfirmedEvent,
    OrderCreatedEvent,
)
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand, PaymentChargedEvent
from shop.shipping.v1.shipping_messages_pb2 import (
    ShippingDelayedEvent,
    ShippingDeliveredEvent,
    ShippingFailedEvent,
    ShippingScheduledEvent,
)
from shop.types.v1.money_pb2 import Money
from shopkit.testing.books import stock
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import place_all, wait_settled
from shopkit.testing.outcomes import CANCELLED, OUTCOMES, PRICES
from shopkit.testing.records import Raw, Seen, read_all, topic_names, write
from shopkit.topics import GROUPS, PARTITIONS

pytestmark = pytest.mark.servers

GARBAGE = b"\x00\xff\xfenot protobuf\x00"
READ = sorted({topic for group in GROUPS for topic in group.topics})


def impossible(topic: str) -> Protobuf:
    """Return what no sender of ours would ever write, about somebody new: no items, money and quantities below nothing, no UUID."""
    nobody = str(uuid4())
    faulty: Mapping[str, Protobuf] = {
        "order.created": OrderCreatedEvent(order_id=f"no UUID {nobody}"),
        "order.confirmed": OrderConfirmedEvent(order_id=nobody, total_amount=Money(currency="EUR", minor_units=-1)),
        "order.cancelled": OrderCancelledEvent(order_id=nobody, sequence=-1),
        "order.completed": OrderCompletedEvent(order_id=nobody, customer_id="me"),
        "payment.request": ChargePaymentCommand(order_id=nobody, amount=Money(currency="?", minor_units=-5)),
        "payment.result": PaymentChargedEvent(order_id=nobody),
        "inventory.request": ReserveStockCommand(order_id=nobody),
        "inventory.result": StockReservedEvent(order_id=f"no UUID {nobody}"),
        "item.changed": ItemChangedEvent(item_id=f"ghost {nobody}", sequence=1, price=Money(currency="EUR", minor_units=-1)),
        "shipping.scheduled": ShippingScheduledEvent(order_id=nobody),
        "shipping.delayed": ShippingDelayedEvent(order_id=nobody),
        "shipping.failed": ShippingFailedEvent(order_id=f"no UUID {nobody}"),
        "shipping.delivered": ShippingDeliveredEvent(order_id=nobody),
    }
    return faulty[topic]


@dataclass(frozen=True)
class Poisoned:
    """A shop with bad records on every partition of every topic that is read."""

    stack: Stack
    shop: ShopConnection
    records: tuple[Raw, ...]


def envelope(type_name: str) -> list[tuple[str, bytes | None]]:
    return [
        ("ce_specversion", b"1.0"),
        ("content-type", b"application/protobuf"),
        ("ce_id", str(uuid4()).encode()),
        ("ce_type", type_name.encode()),
        ("ce_source", b"/tests"),
        ("ce_time", b"2026-01-31T23:59:59.123456Z"),
    ]


def bad_records(topic: str, partition: int) -> list[Raw]:
    """Return, for one partition, what is bad in every way there is."""
    body = impossible(topic)
    name = body.DESCRIPTOR.full_name
    key = str(getattr(body, "item_id" if topic == "item.changed" else "order_id")).encode()
    nul = [*envelope(name), ("traceparent", b"\x00")]
    return [
        Raw(topic, partition, b"\xff\x00 key", GARBAGE),
        Raw(
            topic, partition, b"" if topic == "item.changed" else None, GARBAGE, envelope(name)
        ),  # compacted: no record without key
        Raw(topic, partition, b"a key", None, envelope(name)),
        Raw(topic, partition, b"a key", body.SerializeToString(), envelope("shop.unheard_of.v1.Thing")),
        Raw(topic, partition, b"a key", body.SerializeToString(), nul),
        Raw(topic, partition, b"another key", body.SerializeToString(), envelope(name)),
        Raw(topic, partition, key, body.SerializeToString(), envelope(name)),
    ]


@pytest.fixture(scope="module")
def poisoned(
    tmp_path_factory: pytest.TempPathFactory,
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> Iterator[Poisoned]:
    with Stack(StackSettings(folder=tmp_path_factory.mktemp("bad-messages"), env=quick_settings)) as stack:
        shop = connect(stack)
        records = tuple(raw for topic in READ for partition in range(PARTITIONS) for raw in bad_records(topic, partition))
        write(stack.bootstrap, records)
        yield Poisoned(stack, shop, records)


def expected_letters(records: tuple[Raw, ...]) -> list[tuple[str, str, int, bytes | None, bytes | None]]:
    return sorted(
        (
            (group.id, raw.topic, raw.partition, raw.key, raw.value)
            for group in GROUPS
            for raw in records
            if raw.topic in group.topics
        ),
        key=repr,
    )


def letters(poisoned: Poisoned) -> list[Seen]:
    return read_all(poisoned.stack.bootstrap, topic_names(dead_letters=True))


def identities(found: list[Seen]) -> list[tuple[str, str, int, bytes | None, bytes | None]]:
    return sorted(
        (
            (s.text("x-millrace-handler"), s.topic.removesuffix(".dlt"), int(s.text("x-millrace-partition")), s.key, s.value)
            for s in found
        ),
        key=repr,
    )


def test_every_bad_record_is_a_dead_letter_of_every_group_that_reads_it(poisoned: Poisoned) -> None:
    wanted = expected_letters(poisoned.records)
    eventually(
        lambda: len(letters(poisoned)) >= len(wanted), 60, lambda: f"{len(letters(poisoned))} of {len(wanted)}", every_seconds=0.5
    )
    assert identities(letters(poisoned)) == wanted


def test_a_dead_letter_keeps_the_raw_bytes_and_says_what_happened_where(poisoned: Poisoned) -> None:
    wanted = {(raw.key, raw.value) for raw in poisoned.records}
    found = letters(poisoned)
    for seen in found:
        assert (seen.key, seen.value) in wanted
        assert seen.text("x-millrace-error")
        assert seen.text("x-millrace-topic") + ".dlt" == seen.topic
        assert int(seen.text("x-millrace-offset")) >= 0
        assert int(seen.text("x-millrace-attempts")) >= 1
    reasons = {seen.text("x-millrace-error").partition(":")[0] for seen in found}
    assert {"Undecodable", "UnknownType"} < reasons


def test_orders_of_every_outcome_pass_on_the_same_partitions(poisoned: Poisoned) -> None:
    wanted = [outcome for outcome in OUTCOMES if outcome is not CANCELLED] * 4
    wait_settled(poisoned.shop, place_all(poisoned.shop, wanted))
    used = {
        (s.topic, s.partition)
        for s in read_all(poisoned.stack.bootstrap, ["order.created"])
        if s.text("ce_source") == "/shop/order"
    }
    assert len(used) > 1


def test_nothing_of_a_bad_record_is_stored(poisoned: Poisoned) -> None:
    assert set(stock(poisoned.shop)) == set(PRICES)
