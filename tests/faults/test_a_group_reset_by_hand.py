"""A consumer group reset by hand, with Kafka's own tool: ignored, told of, and nothing is done twice or skipped."""

import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from devkit.accounts import Place, booked, charge, engine
from devkit.kafka_jars import kafka_jars
from devkit.kafka_jvm import java_command
from millrace.observability.health import Health
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.store.contract import Store
from millrace.testing.waiting import eventually


def kafka_consumer_groups(bootstrap: str, *words: str) -> str:
    """Run `kafka-consumer-groups.sh` and return what it wrote."""
    tool = [*java_command(kafka_jars()), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"]
    done = subprocess.run(
        [*tool, "--bootstrap-server", bootstrap, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def consume() -> Iterator[Callable[[Place, Store], PipelineConsumer]]:
    consumers: list[PipelineConsumer] = []

    def start(place: Place, store: Store) -> PipelineConsumer:
        config = ConsumerConfig([place.requests], commit_seconds=0.1)
        consumers.append(PipelineConsumer(config, place.kafka(), engine(place), store, Health()))
        consumers[-1].start()
        return consumers[-1]

    yield start
    for consumer in consumers:
        consumer.stop()


@pytest.mark.parametrize("to", [["--to-earliest"], ["--to-latest"]], ids=["back", "forward"])
def test_a_group_reset_with_kafkas_own_tool_goes_on_where_its_store_says(
    to: Sequence[str],
    url: str,
    new_place: Callable[..., Place],
    new_store: Callable[[Place], Store],
    send: Callable[..., None],
    consume: Callable[[Place, Store], PipelineConsumer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = new_place(url)
    store = new_store(place)
    messages = [charge("a") for _ in range(6)]
    send(place.requests, *messages[:3])
    first = consume(place, store)
    eventually(lambda: len(booked(store, "a")) == 3, 60)
    first.stop()
    send(place.requests, *messages[3:])
    reset = ["--reset-offsets", "--group", place.group, "--topic", place.requests, *to, "--execute"]
    eventually(lambda: place.requests in kafka_consumer_groups(place.bootstrap, *reset), 60)
    with caplog.at_level(logging.WARNING):
        consume(place, store)
        eventually(lambda: len(booked(store, "a")) == 6, 60, lambda: booked(store, "a"))
    assert booked(store, "a") == [message.id for message in messages]
    (told,) = [r for r in caplog.records if r.message == "an offset changed without a reset's id is ignored"]
    fields: dict[str, Any] = vars(told)
    assert (fields["kafka_offset"], fields["position"]) == (6 if to == ["--to-latest"] else 0, 3)
