"""Plain handlers on a real Kafka: what cannot be dead-lettered now is neither lost nor acknowledged, and comes again."""

from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from millrace.dead_letters.letter import Wanted
from millrace.dead_letters.published import PublishedLetters
from millrace.errors import Refused
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.message import Message
from millrace.middleware import DeadLetter
from millrace.partitioner import partition_for
from millrace.pubsub import Outgoing, RawOutgoing
from millrace.router import Router, RouterSettings, Source
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)
POISON = b"poison"


class Plain:
    """A plain handler of a topic of two partitions that refuses poison; `handled` are the others, `refused` counts the attempts."""

    def __init__(self, bootstrap: str, topic: str, before_refusing: Callable[[], object] = lambda: None) -> None:
        self.config = KafkaConfig(bootstrap, message_timeout_seconds=2.0)
        self.topic, self.group = topic, uuid4().hex
        self.handled: list[str] = []
        self.refused = 0
        self.publisher = KafkaPublisher(self.config)
        self._before_refusing = before_refusing
        self._router = Router(
            RouterSettings(dead_letters=self.publisher, max_records=1, backoff_seconds=0.1, max_backoff_seconds=0.5)
        )
        source = Source(KafkaSubscriber(self.config), [topic], self.group)
        self._router.add_handler("plain", source, self._handle, None, middleware=[DeadLetter(self.publisher)])

    def _handle(self, message: Message) -> Sequence[Outgoing]:
        if message.payload == POISON:
            self.refused += 1
            if self.refused == 1:
                self._before_refusing()
            raise Refused("poison")
        self.handled.append(message.id)
        return ()

    def start(self) -> None:
        self._router.start()

    def send(self, *messages: Message) -> None:
        self.publisher.publish([Outgoing(self.topic, message) for message in messages])

    def committed(self, partition: int) -> int:
        consumer = Consumer({"bootstrap.servers": self.config.bootstrap, "group.id": self.group})
        (answer,) = consumer.committed([TopicPartition(self.topic, partition)], timeout=10)
        consumer.close()
        return max(0, int(answer.offset))

    def letters(self) -> list[str]:
        return [letter.reason for letter in PublishedLetters(f"{self.topic}.dlt", self.config).find(Wanted())]

    def close(self) -> None:
        self._router.close()
        self.publisher.close()


@pytest.fixture
def plain() -> Iterator[Callable[..., Plain]]:
    made: list[Plain] = []

    def make(bootstrap: str, topic: str, before_refusing: Callable[[], object] = lambda: None) -> Plain:
        made.append(Plain(bootstrap, topic, before_refusing))
        return made[-1]

    yield make
    for each in made:
        each.close()


def message(key: str, payload: bytes = b"good") -> Message:
    return Message("example.v1.Order", payload, key)


def keys() -> tuple[str, str]:
    """Return a key of each of the two partitions."""
    found = {partition_for(f"k{n}".encode(), 2): f"k{n}" for n in range(20)}
    return found[0], found[1]


def make_topics(bootstrap: str, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, 2) for name in names]).values():
        future.result()
    eventually(lambda: set(names) <= set(admin.list_topics(timeout=10).topics), 30)


@pytest.mark.parametrize("kind", ["refused by the handler", "undecodable"])
def test_without_a_dead_letter_topic_its_partition_waits_uncommitted_and_others_flow(
    kafka: str, kafka_topic: Callable[..., str], plain: Callable[..., Plain], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    running, (bad, good) = plain(kafka, kafka_topic("orders", partitions=2)), keys()
    before, behind, others = [message(bad)], [message(bad) for _ in range(3)], [message(good) for _ in range(3)]
    running.send(*before)
    if kind == "undecodable":
        running.publisher.publish([RawOutgoing(running.topic, bad.encode(), b"\xff garbage", ())])
    else:
        running.send(message(bad, POISON))
    running.send(*behind, *others)
    running.start()
    told = "dead letter not published" if kind == "undecodable" else "message failed"
    eventually(lambda: caplog.messages.count(told) >= 2, 60, lambda: caplog.messages)
    eventually(lambda: {m.id for m in others} <= set(running.handled), 60)
    assert running.committed(0) <= 1
    assert not {m.id for m in behind} & set(running.handled)
    make_topics(kafka, f"{running.topic}.dlt")
    eventually(lambda: running.committed(0) == 5, 90, lambda: running.committed(0), every_seconds=0.2)
    assert set(running.letters()) == {"Refused: poison"} or "Undecodable" in running.letters()[0]
    assert [m for m in running.handled if m in {m.id for m in [*before, *behind]}] == [m.id for m in [*before, *behind]]


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_broker_that_goes_away_while_a_handler_dead_letters_has_the_letter_before_the_commit(
    private_kafka: KafkaBroker, plain: Callable[..., Plain], ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_topics(private_kafka.bootstrap, "orders", "orders.dlt")
    running = plain(private_kafka.bootstrap, "orders", getattr(private_kafka, ends))
    bad = keys()[0]
    before, behind = message(bad), [message(bad) for _ in range(3)]
    running.send(before, message(bad, POISON), *behind)
    running.start()
    eventually(lambda: "message failed" in caplog.messages, 60, lambda: caplog.messages)
    assert running.refused == 1
    assert not {m.id for m in behind} & set(running.handled)
    private_kafka.start()
    eventually(lambda: {m.id for m in behind} <= set(running.handled), 90, every_seconds=0.2)
    eventually(lambda: running.committed(0) == 5, 60, lambda: running.committed(0), every_seconds=0.2)
    assert set(running.letters()) == {"Refused: poison"}
