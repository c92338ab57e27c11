"""Every process hears every record of a topic that its group has not handled, as a member of no group."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from devkit.workspace import free_port
from millrace.kafka.broadcast import Broadcast
from millrace.kafka.config import KafkaConfig
from millrace.message import Record, new_id
from millrace.testing.waiting import eventually

WITHIN = 60


class Listener:
    """A broadcast, and what it heard: values in order, `start` for each beginning."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self.heard: list[str] = []
        self.broadcast = Broadcast(
            KafkaConfig(bootstrap), group, [topic], self._hear, lambda: self.heard.append("start"), look_every_seconds=0.2
        )
        self.broadcast.start()

    def _hear(self, record: Record) -> None:
        value = (record.value or b"").decode()
        self.heard.append(value)
        if value == "broken":
            raise ValueError(value)

    def values(self) -> set[str]:
        return set(self.heard) - {"start"}

    def hears(self, *values: str) -> None:
        eventually(lambda: self.values() == set(values), WITHIN, describe=lambda: self.heard)


@pytest.fixture
def listen(kafka: str) -> Iterator[Callable[..., Listener]]:
    with ExitStack() as exits:

        def start(topic: str, group: str = "", bootstrap: str = kafka) -> Listener:
            listener = Listener(bootstrap, topic, group or new_id())
            exits.callback(listener.broadcast.stop)
            return listener

        yield start


@pytest.fixture
def produce(kafka: str) -> Callable[..., None]:
    def run(topic: str, *values: str, partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": kafka})  # a new one knows of new partitions
        for value in values:
            producer.produce(topic, value.encode(), partition=partition)
        assert producer.flush(WITHIN) == 0

    return run


def test_all_hear_all_records_of_all_partitions_from_a_clean_start(
    kafka_topic: Callable[..., str], listen: Callable[..., Listener], produce: Callable[..., None]
) -> None:
    topic, group = kafka_topic(partitions=2), new_id()
    produce(topic, "a")
    both = [listen(topic, group), listen(topic, group)]
    produce(topic, "b", partition=1)
    for listener in both:
        listener.hears("a", "b")
        assert listener.heard[0] == "start"
    produce(topic, "c")
    for listener in both:
        listener.hears("a", "b", "c")
        assert sorted(listener.heard) == ["a", "b", "c", "start"]


def test_what_the_group_has_handled_is_not_heard_again(
    kafka: str, kafka_topic: Callable[..., str], listen: Callable[..., Listener], produce: Callable[..., None]
) -> None:
    topic, group = kafka_topic(), new_id()
    produce(topic, "a", "b", "c")
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    listener = listen(topic, group)
    produce(topic, "d")
    listener.hears("c", "d")
    admin = AdminClient({"bootstrap.servers": kafka})
    assert admin.describe_consumer_groups([group])[group].result().members == []
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result().topic_partitions
    assert [(p.topic, p.offset) for p in offsets] == [(topic, 2)]


def test_a_record_that_cannot_be_heard_stops_nothing(
    kafka_topic: Callable[..., str], listen: Callable[..., Listener], produce: Callable[..., None]
) -> None:
    topic = kafka_topic()
    listener = listen(topic)
    produce(topic, "broken", "b")
    listener.hears("broken", "b")


def test_a_topic_that_is_made_later_and_partitions_added_to_it_are_found(
    kafka: str, listen: Callable[..., Listener], produce: Callable[..., None]
) -> None:
    topic, admin = f"later.{new_id()}", AdminClient({"bootstrap.servers": kafka})
    listener = listen(topic)
    for made in admin.create_topics([NewTopic(topic, 1)]).values():
        made.result(WITHIN)
    produce(topic, "a")
    listener.hears("a")
    for grown in admin.create_partitions([NewPartitions(topic, 2)]).values():
        grown.result(WITHIN)
    eventually(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 2, WITHIN)
    produce(topic, "b", partition=1)
    listener.hears("a", "b")
    assert listener.heard.count("start") >= 2


def test_it_hears_on_when_the_broker_is_back_and_ends_while_it_is_away(
    private_kafka: Any, listen: Callable[..., Listener]
) -> None:
    bootstrap = private_kafka.bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic("topic", 1)]).values():
        made.result(WITHIN)

    def produce(value: str) -> None:
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce("topic", value.encode())
        assert producer.flush(WITHIN) == 0

    listener = listen("topic", bootstrap=bootstrap)
    produce("a")
    listener.hears("a")
    private_kafka.kill()
    private_kafka.start()
    produce("b")
    listener.hears("a", "b")
    private_kafka.kill()
    listener.broadcast.stop()


def test_it_ends_where_no_broker_ever_was(listen: Callable[..., Listener]) -> None:
    listen("topic", bootstrap=f"127.0.0.1:{free_port()}").broadcast.stop()
