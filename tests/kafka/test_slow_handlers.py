"""Handlers that take longer than the group waits for a poll, on a real broker."""

from collections import Counter
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Protocol
from uuid import uuid4

from millrace.errors import TransientError
from millrace.external.breaker import Breaker
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.message import Message
from millrace.middleware import CircuitBreaker
from millrace.router import Router, Source
from millrace.testing.pubsub import collect, messages, to
from millrace.testing.waiting import eventually

POLL_SECONDS = 2.0


def impatient(kafka: str) -> KafkaConfig:
    return KafkaConfig(kafka, session_timeout_seconds=POLL_SECONDS, max_poll_interval_seconds=POLL_SECONDS)


class Groups(Protocol):
    def members(self, group: str) -> set[str]: ...
    def committed(self, group: str, topic: str) -> dict[int, int]: ...


def test_a_handler_slower_than_max_poll_interval_stays_in_the_group_without_a_loop_of_duplicates(
    kafka: str, kafka_topic: Callable[..., str], groups: Groups
) -> None:
    topic, group = kafka_topic(partitions=2), uuid4().hex
    publisher = KafkaPublisher(KafkaConfig(kafka))
    publisher.publish(to(topic, messages(40, keys=16)))
    handled: Counter[int] = Counter()
    at_first: set[str] = set()
    never = Event()

    def handle(message: Message) -> None:
        number = int(message.payload)
        if number in {0, 30}:
            at_first.update(at_first or eventually(lambda: groups.members(group)))
            never.wait(1.5 * POLL_SECONDS)
        handled[number] += 1

    router = Router()
    router.add_consumer_handler("slow", Source(KafkaSubscriber(impatient(kafka)), [topic], group), handle)
    router.start()
    eventually(lambda: sum(groups.committed(group, topic).values()) == 40, 30, lambda: handled, every_seconds=0.2)
    at_last = groups.members(group)
    router.close()
    publisher.close()
    assert handled == dict.fromkeys(range(40), 1)
    assert at_last == at_first, "it never had to join again"


def test_an_open_breaker_pauses_the_partitions_and_its_member_stays_in_the_group(
    kafka: str, kafka_topic: Callable[..., str], groups: Groups
) -> None:
    topic, group = kafka_topic(partitions=2), uuid4().hex
    publisher = KafkaPublisher(KafkaConfig(kafka))
    publisher.publish(to(topic, messages(40, keys=16)))
    handled: Counter[int] = Counter()
    asked: list[float] = []
    at_first: set[str] = set()

    def handle(message: Message) -> None:
        asked.append(monotonic())
        if len(asked) == 1:
            at_first.update(eventually(lambda: groups.members(group)))
            raise TransientError("away")
        handled[int(message.payload)] += 1

    breaker = CircuitBreaker(Breaker("part", failures=1, recovery_seconds=1.5 * POLL_SECONDS))
    router = Router(middleware=[breaker])
    router.add_consumer_handler("h", Source(KafkaSubscriber(impatient(kafka)), [topic], group), handle)
    router.start()
    eventually(lambda: sum(groups.committed(group, topic).values()) == 40, 30, lambda: handled, every_seconds=0.2)
    at_last = groups.members(group)
    router.close()
    publisher.close()
    assert handled == dict.fromkeys(range(40), 1)
    assert asked[1] - asked[0] >= 1.5 * POLL_SECONDS, "nothing is asked while it is open"
    assert at_last == at_first


def test_a_partition_moves_on_behind_what_its_member_finished_when_asked_for_it(
    kafka: str, kafka_topic: Callable[..., str], groups: Groups
) -> None:
    topic, group = kafka_topic(partitions=4), uuid4().hex
    config = impatient(kafka)
    publisher = KafkaPublisher(config)
    publisher.publish(to(topic, messages(100, keys=32)))
    first = KafkaSubscriber(config).subscribe([topic], group)
    in_hand = collect(first, 100, ack=False)
    first.before_revoke(lambda seconds: first.ack(in_hand))
    second = KafkaSubscriber(config).subscribe([topic], group)
    publisher.publish(to(topic, messages(400, keys=32)[100:]))
    taken: list[int] = []

    def moved() -> bool:
        first.keep_alive()
        taken.extend(int(record.value or b"") for record in second.receive(500, 0.05))
        return bool(taken)

    eventually(moved, 30)
    assert min(taken) >= 100, "nothing the first had in hand"
    first.close()
    second.close()
    publisher.close()
