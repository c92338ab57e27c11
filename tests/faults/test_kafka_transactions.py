"""A transactional handler amid faults: transactions aborted, members fenced and killed, their coordinator killed and restarted.

Whatever happens, a reader of committed records sees one output for each input, in the order of its key.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event, Semaphore
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from devkit.processes import Child, Children, ChildSpec, log_tail
from millrace.errors import TransientError
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaTransactionalSubscriber, transactions
from millrace.kafka.whole import read_whole
from millrace.message import Message
from millrace.pubsub import Outgoing
from millrace.router import Router, RouterSettings, TransactionalSource
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually

KEYS = 16
SLOW_SECONDS = 120.0


def committed(bootstrap: str, topic: str) -> list[tuple[str, int]]:
    """Return key and number of each committed record, in the order of the partitions."""
    try:
        found = [record for record, _ in read_whole(KafkaConfig(bootstrap), topic)]
    except TransientError as away:
        raise AssertionError(str(away)) from away
    return [((record.key or b"").decode(), int(record.value or b"")) for record in found]


def with_aborted(bootstrap: str, topic: str, partitions: int) -> int:
    """Return how many records a topic has, those of aborted transactions included."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "none",
        "isolation.level": "read_uncommitted",
        "enable.partition.eof": True,
    }
    count, unread = 0, partitions
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        while unread:
            message = consumer.poll(SLOW_SECONDS)
            assert message is not None
            unread -= message.error() is not None
            count += message.error() is None
    return count


def assert_exact(bootstrap: str, topic: str, count: int) -> None:
    eventually(lambda: len(committed(bootstrap, topic)) >= count, SLOW_SECONDS, lambda: len(committed(bootstrap, topic)))
    found = committed(bootstrap, topic)
    assert Counter(number for _, number in found) == dict.fromkeys(range(count), 1)
    by_key: dict[str, list[int]] = defaultdict(list)
    for key, number in found:
        by_key[key].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def patient(bootstrap: str) -> KafkaPublisher:
    """Return a publisher that need not repeat a batch while a broker starts: a repeated one would be there twice."""
    return KafkaPublisher(KafkaConfig(bootstrap, message_timeout_seconds=SLOW_SECONDS), timeout_seconds=2 * SLOW_SECONDS)


def copy_to(topic: str) -> Callable[[Message], Sequence[Outgoing]]:
    def copy(message: Message) -> Sequence[Outgoing]:
        return [Outgoing(topic, Message(type=message.type, payload=message.payload, key=message.key, source="test"))]

    return copy


def test_outputs_of_aborted_transactions_are_seen_by_nobody(kafka: str, kafka_topic: Callable[..., str]) -> None:
    source, target = kafka_topic(partitions=4), kafka_topic(partitions=4)
    chance = random.Random(12)
    failing, refused = set(chance.sample(range(400), 8)), set(chance.sample(range(400), 3))
    too_large = chance.randbytes(1_500_000)  # for the broker, not for the client: what stands beside it is sent

    def copy(message: Message) -> Sequence[Outgoing]:
        number = int(message.payload)
        if number in failing:
            failing.remove(number)
            raise ValueError(f"{number} fails once")
        outputs = list(copy_to(target)(message))
        if number in refused:
            refused.remove(number)
            outputs.append(Outgoing(target, Message(type=message.type, payload=too_large, key=message.key, source="test")))
        return outputs

    router = Router(RouterSettings(backoff_seconds=0.01, max_backoff_seconds=0.1))
    subscriber = KafkaTransactionalSubscriber(KafkaConfig(kafka))
    router.add_transactional_handler("copy", TransactionalSource(subscriber, [source], uuid4().hex), copy)
    with closing(patient(kafka)) as publisher:
        publisher.publish(to(source, messages(400, keys=KEYS)))
    router.start()
    assert_exact(kafka, target, 400)
    router.close()
    assert not failing
    assert not refused
    assert with_aborted(kafka, target, 4) > 400


class Gate:
    """Stops transactions before their commit: `shut()` returns once so many stand at it, all that was before them complete."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = Event()
        self._open.set()
        self._waiting = Semaphore(0)
        insist = transactions.Transactions._insist

        def pass_gate(self_: transactions.Transactions, name: str, call: Callable[[Any, float], None]) -> None:
            if name == "commit" and not self._open.is_set():
                self._waiting.release()
                assert self._open.wait(SLOW_SECONDS)
            insist(self_, name, call)

        monkeypatch.setattr(transactions.Transactions, "_insist", pass_gate)

    def shut(self, members: int) -> None:
        self._open.clear()
        for _ in range(members):
            assert self._waiting.acquire(timeout=SLOW_SECONDS)

    def open(self) -> None:
        self._open.set()


def test_a_coordinator_killed_amid_transactions_loses_and_doubles_nothing(
    private_kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while transactions are open, not while it completes them: see docs/transactions.md on KAFKA-20734."""
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("in", 4), NewTopic("out", 4)], operation_timeout=30).values():
        future.result()
    gate = Gate(monkeypatch)
    config = KafkaConfig(private_kafka.bootstrap)
    router = Router(RouterSettings(max_records=5, backoff_seconds=0.05, max_backoff_seconds=1.0))
    for name in ("one", "other"):
        source = TransactionalSource(KafkaTransactionalSubscriber(config), ["in"], "copiers")
        router.add_transactional_handler(name, source, copy_to("out"))
    router.start()
    with closing(patient(private_kafka.bootstrap)) as publisher:
        publisher.publish(to("in", messages(600, keys=KEYS)))
    eventually(lambda: committed(private_kafka.bootstrap, "out"), SLOW_SECONDS, every_seconds=0.01)
    gate.shut(2)
    assert len(committed(private_kafka.bootstrap, "out")) < 600
    private_kafka.kill()
    private_kafka.start()
    gate.open()
    assert_exact(private_kafka.bootstrap, "out", 600)
    assert sorted(router.running()) == ["one", "other"]
    router.close()


def test_members_killed_amid_transactions_lose_and_double_nothing(
    kafka: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    source, target, group = kafka_topic(partitions=4), kafka_topic(partitions=4), uuid4().hex
    names = ["copier-0", "copier-1"]
    chance = random.Random(12)
    program = str(Path(__file__).with_name("copier.py"))

    def start(name: str) -> Child:
        argv = [sys.executable, program, kafka, source, target, group, name]
        return children.start(ChildSpec(name=name, argv=argv, log_path=tmp_path / f"{name}.log"))

    addressed = to(source, messages(2400, keys=KEYS))
    with closing(patient(kafka)) as publisher, Children() as children:
        running = {name: start(name) for name in names}
        for round_ in range(4):
            before = len(committed(kafka, target))
            publisher.publish(addressed[600 * round_ : 600 * (round_ + 1)])
            eventually(
                lambda before=before: len(committed(kafka, target)) > before,  # type: ignore[misc]
                SLOW_SECONDS,
                lambda: log_tail(tmp_path / "copier-0.log"),
                every_seconds=0.01,
            )
            name = chance.choice(names)
            running[name].kill()
            running[name] = start(name)
        assert_exact(kafka, target, 2400)
        assert all(child.alive for child in running.values())
