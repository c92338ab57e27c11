"""Copies of one message, on two nodes at once: one effect. And a first attempt that failed makes no duplicate of the second."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from devkit.accounts import OnMessage, Place, booked, charge, engine
from millrace.decision import Context, Decision, Handler
from millrace.envelope import encode_headers
from millrace.errors import TransientError
from millrace.message import Message
from millrace.observability.health import Health
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.store.contract import Store
from millrace.testing.waiting import eventually

Nodes = Callable[[Place, Store, Handler], tuple[PipelineConsumer, PipelineConsumer]]


@pytest.fixture
def two_nodes() -> Iterator[Nodes]:
    """Give what starts two nodes of a service, each with a partition of its own."""
    nodes: list[PipelineConsumer] = []

    def start(place: Place, store: Store, handler: Handler) -> tuple[PipelineConsumer, PipelineConsumer]:
        config = ConsumerConfig([place.requests], commit_seconds=0.1)
        first, second = (PipelineConsumer(config, place.kafka(), engine(place, handler), store, Health()) for _ in range(2))
        nodes.extend((first, second))
        for node in nodes:
            node.start()
        eventually(lambda: first._assignment.held and second._assignment.held, 60)
        return first, second

    yield start
    for node in nodes:
        node.stop()


def send_copies(place: Place, message: Message) -> None:
    """Put a copy of a message on each of two partitions, as relays of two incarnations of a topic with other partitions might."""
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for partition in range(2):
        producer.produce(place.requests, message.payload, b"a", partition=partition, headers=list(encode_headers(message)))
    assert producer.flush(30) == 0


def both_read(place: Place, store: Store) -> bool:
    """Tell whether both partitions were read to their ends."""
    session = store.session()
    try:
        with session.transaction() as tx:
            return tx.sql.execute("SELECT part, next_offset FROM consumer_position ORDER BY part") == [(0, 1), (1, 1)]
    finally:
        session.close()


def pending_calls(store: Store) -> list[str]:
    session = store.session()
    try:
        with session.transaction() as tx:
            return [row[0] for row in tx.sql.execute("SELECT id FROM effect")]
    finally:
        session.close()


def published(store: Store) -> int:
    session = store.session()
    try:
        with session.transaction() as tx:
            return tx.outbox.size()
    finally:
        session.close()


def test_a_message_handled_on_two_nodes_at_once_has_one_effect(
    postgres_url: Callable[[], str], new_place: Callable[..., Place], new_store: Callable[[Place], Store], two_nodes: Nodes
) -> None:
    place = new_place(postgres_url(), partitions=2)
    store = new_store(place)
    asked: list[str] = []

    class Meeting(OnMessage):
        """Decides once the other node has begun with its copy, and waits for the key."""

        def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
            asked.append(context.message_id)
            with psycopg.connect(place.store_url, autocommit=True) as watching:
                waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                eventually(lambda: watching.execute(waiting).fetchone(), 30)
            return super().decide(body, states, context)

    two_nodes(place, store, Meeting())
    message = charge("a")
    send_copies(place, message)
    eventually(lambda: both_read(place, store), 60)
    assert asked == [message.id]
    assert booked(store, "a") == [message.id]
    assert pending_calls(store) == [f"call {message.id}"]
    assert published(store) == 1


def test_a_first_attempt_that_failed_does_not_make_a_duplicate_of_the_second(
    url: str, new_place: Callable[..., Place], new_store: Callable[[Place], Store], two_nodes: Nodes
) -> None:
    """Its copy on the other partition is one: it comes while the message waits for its second attempt."""
    place = new_place(url, partitions=2)
    store = new_store(place)
    asked: Counter[str] = Counter()

    class Failing(OnMessage):
        def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
            asked[context.message_id] += 1
            if asked[context.message_id] == 1:
                raise TransientError("not yet")
            return super().decide(body, states, context)

    two_nodes(place, store, Failing())
    message = charge("a")
    send_copies(place, message)
    eventually(lambda: both_read(place, store) and booked(store, "a"), 60, lambda: asked)
    assert asked == {message.id: 2}
    assert booked(store, "a") == [message.id]
    assert pending_calls(store) == [f"call {message.id}"]
    assert published(store) == 1
