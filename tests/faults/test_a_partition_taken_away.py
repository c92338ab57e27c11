"""A worker that finishes after its partition was revoked or lost neither commits nor writes; its successor works meanwhile."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from devkit import crash_points
from devkit.accounts import Place, booked, charge
from devkit.processes import Child, Children, log_tail
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.message import Record
from millrace.store.contract import Store
from millrace.testing.pubsub import collect, messages, to
from millrace.testing.waiting import eventually


def offset(bootstrap: str, group: str, topic: str, partition: int = 0) -> int:
    """Return the offset that Kafka has for a group."""
    asking = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        (answer,) = asking.committed([TopicPartition(topic, partition)], timeout=30)
        return int(answer.offset)
    finally:
        asking.close()


def position(store: Store) -> int:
    """Return the position in the store of the first partition."""
    session = store.session()
    try:
        with session.transaction() as tx:
            return int(tx.sql.execute("SELECT next_offset FROM consumer_position WHERE part = 0")[0][0])
    finally:
        session.close()


def outcomes(notes: list[str]) -> tuple[list[str], Counter[str]]:
    """Return the messages booked, in order, and how often the outcome of each one's call was."""
    called = Counter(note.removeprefix("outcome ") for note in notes if note.startswith("outcome"))
    return [note for note in notes if not note.startswith("outcome")], called


@pytest.mark.parametrize(("point", "idle_seconds"), [("after poll", 30), ("before events.append", 3)])
def test_a_worker_frozen_with_a_batch_in_hand_writes_nothing_once_another_has_its_partition(
    point: str,
    idle_seconds: int,
    postgres_url: Callable[[], str],
    new_place: Callable[..., Place],
    new_store: Callable[[Place], Store],
    send: Callable[..., None],
    children: Children,
    tmp_path: Path,
) -> None:
    """Frozen amid its transaction, it has the row of its position locked, until the server ends its session."""
    place = new_place(f"{postgres_url()}?options=-c%20idle_in_transaction_session_timeout%3D{idle_seconds}s")
    store, frozen_log, log = new_store(place), tmp_path / "frozen.log", tmp_path / "next.log"
    first, second, third = ([charge("a") for _ in range(3)] for _ in range(3))
    send(place.requests, *first)
    frozen = children.start(crash_points.process(place, frozen_log, point, signal.SIGSTOP))
    eventually(lambda: is_stopped(frozen), 60, lambda: log_tail(frozen_log))
    successor = children.start(crash_points.process(place, log))
    ids = [message.id for message in first]
    eventually(lambda: outcomes(booked(store, "a")) == (ids, Counter(ids)), 60, lambda: (booked(store, "a"), log_tail(log)))
    send(place.requests, *second)
    ids += [message.id for message in second]
    eventually(lambda: outcomes(booked(store, "a")) == (ids, Counter(ids)), 60, lambda: (booked(store, "a"), log_tail(log)))
    eventually(lambda: offset(place.bootstrap, place.group, place.requests) == 6, 30)
    assert position(store) == 6

    frozen.process.send_signal(signal.SIGCONT)
    eventually(lambda: "partitions lost" in frozen_log.read_text(), 60, lambda: log_tail(frozen_log))
    assert outcomes(booked(store, "a")) == (ids, Counter(ids))
    assert position(store) == 6
    assert offset(place.bootstrap, place.group, place.requests) == 6
    successor.kill()
    send(place.requests, *third)
    ids += [message.id for message in third]
    eventually(lambda: outcomes(booked(store, "a")) == (ids, Counter(ids)), 60, lambda: log_tail(frozen_log))


def is_stopped(child: Child) -> bool:
    child.check()
    return psutil.Process(child.pid).status() == psutil.STATUS_STOPPED


def test_what_a_plain_handler_finishes_after_its_partition_moved_is_not_committed(
    kafka: str, kafka_topic: Callable[..., str]
) -> None:
    topic, group = kafka_topic(partitions=2), uuid4().hex
    config = KafkaConfig(kafka, session_timeout_seconds=2.0, max_poll_interval_seconds=30.0)
    publisher, subscriber = KafkaPublisher(config), KafkaSubscriber(config)
    publisher.publish(to(topic, messages(40, keys=16)))
    first = subscriber.subscribe([topic], group)
    in_hand = collect(first, 40, ack=False)
    publisher.publish(to(topic, messages(40, keys=16)))
    second = subscriber.subscribe([topic], group)
    taken: list[Record] = []

    def moved() -> bool:
        first.keep_alive()
        records = second.receive(500, 0.05)
        second.ack(records)
        taken.extend(records)
        return bool(taken) and offset(kafka, group, topic, taken[0].partition) == len(taken)

    eventually(moved, 60, lambda: len(taken))
    moved_to = taken[0].partition
    kept = [record for record in in_hand if record.partition != moved_to]
    assert {record.partition for record in taken} == {moved_to}
    assert len(taken) > len(in_hand) - len(kept)
    first.ack(in_hand)
    first.keep_alive()
    eventually(lambda: offset(kafka, group, topic, 1 - moved_to) == len(kept), 30)
    assert offset(kafka, group, topic, moved_to) == len(taken)
    for part in (first, second, publisher):
        part.close()
