"""A topic that gets more partitions while it is consumed: each message is handled once; what order is promised across the change.

A key may move to another partition, and its earlier messages stay where they are. Its order holds across the change where the group had read
what came before, and otherwise on either side of it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from devkit.accounts import Place, booked, charge, engine
from millrace.envelope import encode_headers
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer
from millrace.message import Message
from millrace.observability.health import Health
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.store.contract import Store
from millrace.testing.waiting import eventually

KEYS = [f"a{number}" for number in range(8)]


def messages() -> list[Message]:
    return [charge(key) for key in KEYS for _ in range(3)]


def send_anew(place: Place, sent: Sequence[Message]) -> None:
    """Send by a new producer: one that was there before learns of the partitions only after a while."""
    producer, failures = KafkaProducer(KafkaConfig(place.bootstrap, message_timeout_seconds=30.0)), Counter[object]()
    for message in sent:
        key = (message.key or "").encode()
        producer.send(place.requests, key, message.payload, encode_headers(message), lambda error, _: failures.update([error]))
    assert producer.flush(30) == 0
    assert failures == {None: len(sent)}


def add_partitions(place: Place, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": place.bootstrap})
    admin.create_partitions([NewPartitions(place.requests, count)])[place.requests].result()
    eventually(lambda: len(admin.list_topics(place.requests, timeout=10).topics[place.requests].partitions) == count, 30)


def consumer_of(place: Place, store: Store) -> PipelineConsumer:
    kafka = replace(place.kafka(), metadata_seconds=1.0)
    config = ConsumerConfig([place.requests], commit_seconds=0.1)
    return PipelineConsumer(config, kafka, engine(place), store, Health())


def all_booked(store: Store) -> dict[str, list[str]]:
    return {key: booked(store, key) for key in KEYS}


def of(key: str, *sent: Sequence[Message]) -> list[str]:
    return [message.id for batch in sent for message in batch if message.key == key]


@pytest.mark.parametrize("read_before", [True, False], ids=["all read before", "nothing read before"])
def test_added_partitions_are_read_each_message_once_and_keys_keep_the_order_that_is_promised(
    read_before: bool, url: str, new_place: Callable[..., Place], new_store: Callable[[Place], Store]
) -> None:
    place = new_place(url)
    store, before, after = new_store(place), messages(), messages()
    send_anew(place, before)
    consumer = consumer_of(place, store)
    if read_before:
        consumer.start()
        eventually(lambda: all_booked(store) == {key: of(key, before) for key in KEYS}, 60, lambda: all_booked(store))
    add_partitions(place, 4)
    send_anew(place, after)
    if not read_before:
        consumer.start()
    eventually(lambda: sum(map(len, all_booked(store).values())) >= len(before) + len(after), 60, lambda: all_booked(store))
    consumer.stop()
    for key, notes in all_booked(store).items():
        if read_before:
            assert notes == of(key, before, after)
        assert [note for note in notes if note in of(key, before)] == of(key, before)
        assert [note for note in notes if note in of(key, after)] == of(key, after)
        assert len(notes) == len(of(key, before, after))
