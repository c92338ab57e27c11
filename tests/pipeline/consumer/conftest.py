"""One service's consumers and relays over a real Kafka and a store, with topics and a group of their own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from millrace.cqrs.registry import TypeRegistry
from millrace.envelope import encode_headers
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer
from millrace.message import Message, utc_now
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.relay import Relay
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.testing.waiting import eventually


class Topics(TypeRegistry):
    """Sends every type to one topic of the test's own."""

    at = ""

    def topic(self, body_type: Any) -> str:
        return self.at


class Running:
    """Consumers, and relays, of one service with a group and topics of its own."""

    def __init__(self, world: Any, kafka: str, requests: str, results: str) -> None:
        self.world, self.requests, self.results = world, requests, results
        self.group = f"accounts-{uuid4()}"
        self.kafka = KafkaConfig(kafka, session_timeout_seconds=6.0)
        self.admin = AdminClient(self.kafka.client_settings())
        self.producer = KafkaProducer(self.kafka)
        self.started: list[PipelineConsumer | Relay] = []
        self.health = Health()
        self.registry = Topics.from_modules(world.payment)
        assert isinstance(self.registry, Topics)
        self.registry.at = results
        world.clock = utc_now
        world.group = self.group

    def send(self, *messages: Message, topic: str = "") -> None:
        failures: list[object] = []
        for message in messages:
            key = None if message.key is None else message.key.encode()
            self.producer.send(
                topic or self.requests, key, message.payload, encode_headers(message), lambda error, _: failures.append(error)
            )
        assert self.producer.flush(30) == 0
        assert set(failures) == {None}

    def engine(self) -> Any:
        return self.world.new_engine(registry=self.registry, group=self.group)

    def consumer(self, *, reply_topics: Sequence[str] = (), topics: Sequence[str] = (), **config_: Any) -> PipelineConsumer:
        config = ConsumerConfig(topics or [self.requests], reply_topics, commit_seconds=0.1, **config_)
        consumer = PipelineConsumer(config, self.kafka, self.engine(), self.world.store, self.health)
        self.started.append(consumer)
        consumer.start()
        return consumer

    def relay(self) -> Relay:
        relay = Relay(RelayConfig(0.1), self.kafka, self.world.store, self.health, self.world.engine.metrics)
        self.started.append(relay)
        relay.start()
        return relay

    def stop(self, *parts: PipelineConsumer | Relay) -> None:
        for part in parts or list(self.started):
            self.started.remove(part)
            part.stop()

    def committed(self) -> int:
        """Return the sum of the offsets that Kafka has for the group."""
        partitions = self.admin.list_topics(self.requests, timeout=30).topics[self.requests].partitions
        asking = Consumer({**self.kafka.client_settings(), "group.id": self.group})  # joins nothing
        try:
            answers = asking.committed([TopicPartition(self.requests, number) for number in partitions], timeout=30)
        finally:
            asking.close()
        return sum(max(answer.offset, 0) for answer in answers)

    def set_committed(self, offset: int, metadata: str = "") -> None:
        """Change Kafka's offset of the group for the first partition; nobody may be a member."""
        parts = [TopicPartition(self.requests, 0, offset, metadata)]

        def change() -> bool:
            (answer,) = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, parts)]).values()
            return all(part.error is None for part in answer.result().topic_partitions)

        eventually(change, 30)

    def ends(self, topic: str) -> int:
        """Return the end offset of a topic's first partition."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        (answer,) = self.admin.list_offsets({TopicPartition(topic, 0): latest}).values()
        return int(answer.result().offset)

    def forget_committed(self) -> None:
        (answer,) = self.admin.delete_consumer_groups([self.group]).values()
        answer.result()

    def make_anew(self, topic: str) -> None:
        """Delete a topic and make another of its name, with one partition; nobody may read it."""
        self.admin.delete_topics([topic], operation_timeout=30)[topic].result()
        eventually(lambda: topic not in self.admin.list_topics(timeout=10).topics, 30)
        self.admin.create_topics([NewTopic(topic, 1)], operation_timeout=30)[topic].result()
        eventually(lambda: topic in self.admin.list_topics(timeout=10).topics, 30)

    def notes(self, *accounts: str) -> list[str]:
        return [note for account in accounts for note in self.world.notes(account)]

    def has(self, messages: Sequence[Message], *accounts: str) -> None:
        """Wait until exactly these messages were handled, each account's in order."""
        wanted = [m.id for account in accounts for m in messages if m.key == account]
        eventually(lambda: len(self.notes(*accounts)) >= len(wanted), 60, lambda: len(self.notes(*accounts)), every_seconds=0.1)
        assert self.notes(*accounts) == wanted


@pytest.fixture
def start(kafka: str, kafka_topic: Callable[..., str], new_world: Any) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(url: str, partitions: int = 1, broker: str = "") -> Running:
        """Give one on the shared broker, or on one of the test's own."""
        world = new_world(url)
        if broker:
            requests, results = "payment.request", "payment.result"
            admin = AdminClient({"bootstrap.servers": broker})  # its futures live no longer than it
            for future in admin.create_topics([NewTopic(requests, 1), NewTopic(results, 1)]).values():
                future.result()
        else:
            requests, results = (kafka_topic(topic, partitions=partitions) for topic in ("payment.request", "payment.result"))
        made.append(Running(world, broker or kafka, requests, results))
        return made[-1]

    yield make
    for running in made:
        running.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, start: Callable[..., Running], tmp_path: Any) -> Running:
    return start(f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")())


@pytest.fixture
def dead_letter_topic(kafka: str) -> Iterator[Callable[[str], str]]:
    """Give what makes the dead letter topic of a topic of the shared broker, and returns its name; removed at the end."""
    admin = AdminClient({"bootstrap.servers": kafka})
    made: list[str] = []

    def make(topic: str) -> str:
        made.append(f"{topic}.dlt")
        for future in admin.create_topics([NewTopic(made[-1], 1)]).values():
            future.result()
        eventually(lambda: made[-1] in admin.list_topics(timeout=10).topics, 30)
        return made[-1]

    yield make
    if made:
        for future in admin.delete_topics(made).values():
            future.result()
