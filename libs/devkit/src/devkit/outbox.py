"""Fills an outbox, and reads from Kafka what a relay made of it. For tests of relays."""

from time import monotonic

import msgspec
from confluent_kafka import Consumer

from millrace.outbox.outbox import OutboxRow
from millrace.store.contract import Store

HEADERS = msgspec.msgpack.encode([("name", b"value")])


def row(topic: str, key: str | None, number: int) -> OutboxRow:
    """Return a row whose payload is its number."""
    return OutboxRow(topic, None if key is None else key.encode(), b"%d" % number, HEADERS, f"id-{number}")


def add(store: Store, *rows: OutboxRow) -> None:
    """Commit rows to the outbox, in a transaction of their own."""
    session = store.session()
    with session.transaction() as tx:
        tx.outbox.add(rows)
    session.close()


def size(store: Store) -> int:
    """Return how many rows the outbox has."""
    session = store.session()
    with session.transaction() as tx:
        found = tx.outbox.size()
    session.close()
    return found


def read(bootstrap: str, topic: str, count: int) -> list[tuple[bytes | None, int]]:
    """Return key and number of the first `count` records of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"reader of {topic} {monotonic()}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[tuple[bytes | None, int]] = []
    give_up_at = monotonic() + 30
    while len(found) < count and monotonic() < give_up_at:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            assert message.headers() == [("name", b"value")]
            found.append((message.key(), int(message.value() or b"-1")))
    consumer.close()
    assert len(found) >= count, found
    return found
