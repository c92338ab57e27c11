"""The consumer on a real Kafka: the store's positions rule, each message counts once, and an absent database is waited for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from devkit.postgres import PostgresServer
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Decision, Publish, StartTimer
from millrace.envelope import encode_headers
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer
from millrace.message import Message, utc_now
from millrace.observability.health import Health
from millrace.outbox.relay import Relay, RelayConfig
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


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

    def consumer(self, *, reply_topics: Sequence[str] = (), topics: Sequence[str] = ()) -> PipelineConsumer:
        config = ConsumerConfig(topics or [self.requests], reply_topics, commit_seconds=0.1)
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
        (answer,) = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)]).values()
        return sum(max(part.offset, 0) for part in answer.result().topic_partitions)

    def set_committed(self, offset: int, partitions: int = 1) -> None:
        """Change Kafka's offsets of the group, which nobody may be a member of."""
        parts = [TopicPartition(self.requests, number, offset) for number in range(partitions)]

        def change() -> bool:
            (answer,) = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, parts)]).values()
            return all(part.error is None for part in answer.result().topic_partitions)

        eventually(change, 30)

    def forget_committed(self) -> None:
        (answer,) = self.admin.delete_consumer_groups([self.group]).values()
        answer.result()

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

    def make(url: str, partitions: int = 1) -> Running:
        world = new_world(url)
        requests = kafka_topic("payment.request", partitions=partitions)
        made.append(Running(world, kafka, requests, kafka_topic("payment.result")))
        return made[-1]

    yield make
    for running in made:
        running.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, start: Callable[..., Running], tmp_path: Any) -> Running:
    return start(f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")())


def test_a_new_group_reads_from_the_earliest_and_what_follows_is_published(running: Running) -> None:
    messages = [running.world.message(f"a{n % 3}") for n in range(30)]
    running.send(*messages)
    running.consumer()
    running.relay()
    running.has(messages, "a0", "a1", "a2")
    eventually(lambda: running.world.outbox() == [], 30)
    ends = running.admin.list_offsets({TopicPartition(running.results, 0): _latest()})
    assert [end.result().offset for end in ends.values()] == [30]


def _latest() -> Any:
    from confluent_kafka.admin._listoffsets import OffsetSpec

    return OffsetSpec.latest()  # type: ignore[no-untyped-call]


def test_the_stored_position_rules_whatever_kafka_has_committed(running: Running) -> None:
    messages = [running.world.message("a") for _ in range(9)]
    running.send(*messages[:3])
    running.consumer()
    running.has(messages[:3], "a")
    eventually(lambda: running.committed() == 3, 20, running.committed)
    running.stop()
    running.send(*messages[3:6])
    running.forget_committed()
    running.consumer()
    running.has(messages[:6], "a")
    running.stop()
    running.send(*messages[6:])
    running.set_committed(9)
    running.consumer()
    running.has(messages, "a")
    running.stop()
    running.set_committed(0)
    running.consumer()
    last = running.world.message("a")
    running.send(last)
    running.has([*messages, last], "a")
    assert len(running.world.model()) == 10


def test_records_kafka_delivers_again_change_nothing(running: Running) -> None:
    messages = [running.world.message("a") for _ in range(5)]
    running.send(*messages)
    running.consumer()
    running.has(messages, "a")
    running.send(*messages)
    last = running.world.message("a")
    running.send(last)
    running.has([*messages, last], "a")


def test_two_consumers_share_the_partitions_and_one_takes_over_from_the_other(
    start: Callable[..., Running], postgres_url: Callable[[], str]
) -> None:
    running = start(postgres_url(), 4)
    accounts = [f"a{n}" for n in range(8)]
    messages = [running.world.message(accounts[n % 8]) for n in range(240)]

    def send() -> None:
        for n in range(0, 240, 8):
            running.send(*messages[n : n + 8])

    sender = threading.Thread(target=send)
    sender.start()
    first, second = running.consumer(), running.consumer()
    eventually(lambda: first._assignment.held and second._assignment.held, 60)
    assert not set(first._assignment.held) & set(second._assignment.held)
    sender.join()
    running.stop(first)
    later = [running.world.message(account) for account in accounts]
    running.send(*later)
    running.has([*messages, *later], *accounts)
    assert len(second._assignment.held) == 4


def test_a_database_that_is_away_is_waited_for_within_the_group(
    start: Callable[..., Running], private_postgres: PostgresServer
) -> None:
    running = start(private_postgres.url)
    messages = [running.world.message("a") for _ in range(6)]
    running.send(*messages[:3])
    consumer = running.consumer()
    running.has(messages[:3], "a")
    running.world.session.close()
    private_postgres.kill()
    running.send(*messages[3:])
    eventually(lambda: not running.health.snapshot()["database"].ok, 30)
    eventually(lambda: consumer._paused, 30)
    (described,) = running.admin.describe_consumer_groups([running.group]).values()
    members = [member.member_id for member in described.result().members]
    private_postgres.start()
    running.has(messages, "a")
    (described,) = running.admin.describe_consumer_groups([running.group]).values()
    assert [member.member_id for member in described.result().members] == members
    assert len(members) == 1


def test_a_timer_waits_for_the_replies_that_are_still_in_kafka(running: Running) -> None:
    """After an outage the deadline is long past when the reply is read; nothing but the reply may happen."""
    world, replies = running.world, running.results
    deadline = StartTimer("deadline", "ask", timedelta(milliseconds=200))
    world.scripts["ask"] = lambda body, s, c: Decision(
        publish=[Publish(world.payment.PaymentDeclinedEvent(order_id="a"), deadline=deadline)]
    )
    world.scripts["reply"] = lambda body, s, c: Decision([("account-a", world.Charged(1, "reply"))], cancel_timers=["deadline"])
    running.send(world.message("a", does="ask"))
    running.consumer(reply_topics=[replies])
    eventually(world.outbox, 30)
    running.stop()
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(10), 1)
    running.send(*(world.message(f"b{n}") for n in range(400)), topic=replies)
    running.send(world.message("a", does="reply"), topic=replies)
    running.consumer(topics=[running.requests, replies], reply_topics=[replies])
    eventually(lambda: world.notes("a"), 60)
    assert world.notes("a") == ["reply"]


def test_a_timer_fires_once_its_group_has_caught_up(running: Running) -> None:
    world = running.world
    world.scripts["start"] = lambda body, s, c: Decision(timers=[StartTimer("t", "x", timedelta(milliseconds=50))])
    running.send(world.message("b"), topic=running.results)
    running.send(world.message("a", does="start"))
    running.consumer(topics=[running.requests, running.results], reply_topics=[running.results])
    eventually(lambda: world.notes("a") == ["t x 1"], 60, lambda: world.notes("a"))
