"""The committed position of plain handlers on a real broker: never past the first record that is neither done nor parked."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Protocol
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.processes import Children, ChildSpec
from millrace.errors import PermanentError, TransientError
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.message import Message, Record
from millrace.middleware import DeadLetter
from millrace.pubsub import RawOutgoing, Sendable
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import PubSub, collect, member, messages, payloads, to
from millrace.testing.waiting import eventually


class Groups(Protocol):
    def committed(self, group: str, topic: str) -> dict[int, int]: ...


@pytest.fixture
def pubsub(kafka: str) -> Iterator[PubSub]:
    publisher = KafkaPublisher(KafkaConfig(kafka))
    yield PubSub(publisher, KafkaSubscriber(KafkaConfig(kafka)))
    publisher.close()


@pytest.fixture
def topic(kafka: str) -> Iterator[str]:
    name = f"positions.{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics([NewTopic(name, 2), NewTopic(f"{name}.dlt", 1)], operation_timeout=30).values():
        future.result()
    yield name
    for future in admin.delete_topics([name, f"{name}.dlt"], operation_timeout=30).values():
        future.result()


class Finished:
    """Which messages are done, how often and in which order of each key, and which are parked. It is also where dead letters go."""

    def __init__(self, below: KafkaPublisher) -> None:
        self.done: Counter[int] = Counter()
        self.parked: set[int] = set()
        self.by_key: dict[str | None, list[int]] = defaultdict(list)
        self._below = below
        self._lock = Lock()

    def note(self, message: Message) -> None:
        with self._lock:
            self.done[int(message.payload)] += 1
            self.by_key[message.key].append(int(message.payload))

    def numbers(self) -> set[int]:
        with self._lock:
            return {*self.done, *self.parked}

    def publish(self, batch: Sequence[Sendable]) -> None:
        self._below.publish(batch)
        with self._lock:
            self.parked.update(int(item.value or b"") for item in batch if isinstance(item, RawOutgoing))

    def close(self) -> None:
        """The publisher below is closed by its owner."""


def test_with_keys_at_once_and_failures_the_position_never_passes_the_first_record_neither_done_nor_parked(
    kafka: str, pubsub: PubSub, topic: str, groups: Groups
) -> None:
    group, healed = uuid4().hex, Event()
    pubsub.publisher.publish(to(topic, messages(300, keys=24)))
    with member(pubsub, topic) as reader:
        records = {int(record.value or b""): record for record in collect(reader, 300)}
    stuck = records[40]
    assert isinstance(pubsub.publisher, KafkaPublisher)
    finished = Finished(pubsub.publisher)
    failures: Counter[int] = Counter()

    def handle(message: Message) -> None:
        number = int(message.payload)
        if number == 40 and not healed.is_set():
            raise TransientError("stuck")
        if number % 13 == 5:
            raise PermanentError("never")
        if number % 29 == 3 and failures[number] < 2:
            failures[number] += 1
            raise TransientError("not yet")
        finished.note(message)

    passed: list[tuple[int, int, int]] = []

    def positions() -> dict[int, int]:
        committed = groups.committed(group, topic)
        left = [record for number, record in records.items() if number not in finished.numbers()]
        for partition, position in committed.items():
            passed.extend((partition, position, r.offset) for r in left if r.partition == partition and r.offset < position)
        return committed

    settings = RouterSettings(backoff_seconds=0.02, max_backoff_seconds=0.1, concurrency=4)
    router = Router(settings, middleware=[DeadLetter(finished, exhausted=False)])
    router.add_consumer_handler("h", Source(pubsub.subscriber, [topic], group), handle)
    router.start()
    waiting = {number for number in range(40, 300) if records[number].key == stuck.key}
    eventually(lambda: positions() and finished.numbers() == set(range(300)) - waiting, 30, lambda: sorted(finished.numbers()))
    ends = Counter(record.partition for record in records.values())
    eventually(lambda: positions() == {**ends, stuck.partition: stuck.offset}, 10, positions)
    healed.set()
    eventually(lambda: positions() == ends, 30, positions)
    router.close()
    assert not passed, "(partition, position, first record that was neither done nor parked)"
    assert finished.parked == {number for number in range(300) if number % 13 == 5}
    assert finished.done == dict.fromkeys(set(range(300)) - finished.parked, 1)
    assert all(numbers == sorted(numbers) for numbers in finished.by_key.values())


FAILS_ON_PARTITION_0 = """
import sys
from millrace.errors import TransientError
from millrace.handling import current_delivery
from millrace.kafka import KafkaConfig, KafkaSubscriber
from millrace.router import Router, RouterSettings, Source

def handle(message):
    record = current_delivery.get().record
    if (record.partition, record.offset) == (0, 0):
        raise TransientError("never")

bootstrap, topic, group, concurrency = sys.argv[1:]
subscriber = KafkaSubscriber(KafkaConfig(bootstrap, session_timeout_seconds=2.0))
router = Router(RouterSettings(concurrency=int(concurrency)))
router.add_consumer_handler("h", Source(subscriber, [topic], group), handle)
router.start()
router.wait()
"""


@pytest.mark.parametrize("concurrency", [1, 4])
def test_after_a_failure_on_one_partition_success_on_another_and_a_crash_the_first_record_returns(
    concurrency: int, kafka: str, pubsub: PubSub, topic: str, groups: Groups, tmp_path: Path
) -> None:
    group = uuid4().hex
    pubsub.publisher.publish(to(topic, messages(60, keys=16)))
    with member(pubsub, topic) as reader:
        records = collect(reader, 60)

    def of(partition: int) -> list[Record]:
        return [record for record in records if record.partition == partition]

    with Children() as children:
        argv = [sys.executable, "-c", FAILS_ON_PARTITION_0, kafka, topic, group, str(concurrency)]
        child = children.start(ChildSpec(name="member", argv=argv, log_path=tmp_path / "member.log"))
        eventually(
            lambda: groups.committed(group, topic).get(1) == len(of(1)) or child.check(),
            30,
            lambda: groups.committed(group, topic),
        )
        child.kill()
    with member(pubsub, topic, group) as subscription:
        assert payloads(collect(subscription, len(of(0)))) == payloads(of(0))
    assert groups.committed(group, topic) == {0: len(of(0)), 1: len(of(1))}
