"""The broker keeps its data and address across stop, kill and start, and makes no topic by itself."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker, answers
from devkit.waiting import wait_until

PARENT = """
import signal
from devkit.kafka import KafkaBroker
with KafkaBroker() as broker:
    print(broker.pid, flush=True)
    signal.pause()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that another account may enter, and that goes with what a killed parent could not remove."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def create(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, 1)]).values():
        future.result()


def publish(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values: list[bytes | None] = []
    while len(values) < count:
        messages = consumer.consume(count - len(values), 20)
        assert messages, f"only {values}"
        values += [message.value() for message in messages]
    consumer.close()
    return values


def test_messages_survive_stop_kill_and_start(private_kafka: KafkaBroker) -> None:
    bootstrap = private_kafka.bootstrap
    create(bootstrap, "kept")
    publish(bootstrap, "kept", b"before stop")
    private_kafka.stop()
    assert not answers(bootstrap)
    private_kafka.start()
    publish(bootstrap, "kept", b"before kill")
    private_kafka.kill()
    assert not answers(bootstrap)
    private_kafka.start()
    publish(bootstrap, "kept", b"after")
    assert read(bootstrap, "kept", 3) == [b"before stop", b"before kill", b"after"]


def test_a_paused_broker_answers_nobody_until_it_goes_on(private_kafka: KafkaBroker) -> None:
    private_kafka.pause()
    assert not answers(private_kafka.bootstrap)
    private_kafka.resume()
    wait_until(lambda: answers(private_kafka.bootstrap), what="the broker answering", timeout_seconds=20)


def test_a_topic_nobody_made_is_not_made(kafka: str) -> None:
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC"):
        raise KafkaException(
            next(iter(AdminClient({"bootstrap.servers": kafka}).list_topics("nobody", 10).topics.values())).error
        )


def test_topics_of_the_factory_have_names_of_their_own(kafka: str, kafka_topic: Callable[..., str]) -> None:
    first, second = kafka_topic("twice", partitions=6), kafka_topic("twice", cleanup_policy="compact")
    known = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert first != second
    assert (len(known[first].partitions), len(known[second].partitions)) == (6, 1)


@pytest.mark.servers
def test_no_broker_is_left_when_its_parent_is_killed(open_folder: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(open_folder)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    broker = psutil.Process(int(parent.stdout.readline().split()[-1]))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(timeout=10)
    assert psutil.wait_procs([broker], timeout=10)[1] == []


@pytest.mark.servers
def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path, private_kafka: KafkaBroker) -> None:
    port = int(private_kafka.bootstrap.rpartition(":")[2])
    with pytest.raises(OSError, match=f"port {port} is in use"):
        KafkaBroker(tmp_path, port=port).start()
