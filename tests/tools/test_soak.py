"""`make soak` tells growth from noise, and a backlog from a queue at work."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from devkit.soak import MOST_GROWTH_MB, MOST_WAITING, QUEUES, Sample, grown, growth_mb
from devkit.unread import unread
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer


def samples(leak_mb: float, **waiting: int) -> list[Sample]:
    dice = random.Random(1)
    rows = {"order": {**dict.fromkeys(QUEUES, 0), **waiting}}
    return [Sample(at, {"order-1": 90 + dice.uniform(-1, 1) + leak_mb * at / 400}, rows) for at in range(400)]


@pytest.mark.parametrize("leak", [-20.0, 0.0, 5.0, 20.0])
def test_growth_is_what_a_straight_line_rises_by(leak: float) -> None:
    line = [(sample.at, sample.memory_mb["order-1"]) for sample in samples(leak)]
    assert growth_mb(line) == pytest.approx(leak, abs=0.5)


def test_flat_memory_and_busy_queues_are_in_order() -> None:
    assert grown(samples(0, outbox=MOST_WAITING, effect=MOST_WAITING)) == []


def test_memory_that_grows_is_told_of() -> None:
    (fault,) = grown(samples(2 * MOST_GROWTH_MB))
    assert "memory of order-1 grew by" in fault


@pytest.mark.parametrize(("queue", "rows"), [("outbox", MOST_WAITING + 1), ("effect", MOST_WAITING + 1), ("parked", 1)])
def test_a_queue_that_does_not_empty_is_told_of(queue: str, rows: int) -> None:
    assert grown(samples(0, **{queue: rows})) == [f"{rows} rows in {queue} of order"]


def test_what_was_not_read_is_counted_in_records(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic(partitions=2)
    producer, failed = KafkaProducer(KafkaConfig(kafka)), list[Any]()
    for number in range(10):
        producer.send(topic, b"one key", b"%d" % number, [], lambda error, _: failed.append(error))
    assert producer.flush(30) == 0
    assert failed == [None] * 10
    assert unread(kafka, [(topic, 0, 0), (topic, 1, 0)]) == 10
    assert min(unread(kafka, [(topic, 0, 4), (topic, 1, 0)]), unread(kafka, [(topic, 0, 0), (topic, 1, 4)])) == 6
    assert unread(kafka, []) == 0
