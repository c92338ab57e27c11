"""Broker and database killed and started again, several times, under a steady load: one effect and one output for every message."""

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from threading import Event, Thread
from typing import Any, Self

import pytest
from confluent_kafka import KafkaException

from devkit.kafka import KafkaBroker
from devkit.postgres import PostgresServer
from millrace.kafka import KafkaConfig, KafkaPublisher
from millrace.kafka.topics import TopicIds
from millrace.kafka.whole import read_whole
from millrace.message import SEQUENCE, Message
from millrace.pubsub import Outgoing
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(280)

KEYS = 20
SLOW_SECONDS = 120.0


class Load:
    """Sends messages, a few at a time, until it is told to end. It waits for a broker that is away, and sends none twice."""

    def __init__(self, running: Any) -> None:
        self.sent: list[Message] = []
        self._running = running
        self._config = KafkaConfig(running.kafka.bootstrap, message_timeout_seconds=SLOW_SECONDS)
        self._ending = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(2 * SLOW_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with closing(KafkaPublisher(self._config, timeout_seconds=2 * SLOW_SECONDS)) as publisher:
            while not self._ending.wait(0.01):
                first = len(self.sent)
                batch = [self._running.world.message(f"a{number % KEYS}") for number in range(first, first + 5)]
                publisher.publish([Outgoing(self._running.requests, message) for message in batch])
                self.sent += batch


@pytest.mark.parametrize("seed", [1])
def test_every_message_has_one_effect_and_one_output_in_its_keys_order(
    start: Callable[..., Any], private_kafka: KafkaBroker, private_postgres: PostgresServer, seed: int
) -> None:
    running = start(private_postgres.url, broker=private_kafka.bootstrap)
    topics = TopicIds(running.kafka)
    running.consumer()
    running.relay()

    def outputs() -> int:
        try:
            return topics.ends([(running.results, 0)])[running.results, 0]
        except KafkaException as away:
            raise AssertionError(str(away)) from away

    servers: list[list[Any]] = [[private_kafka], [private_postgres], [private_kafka, private_postgres]]
    random.Random(seed).shuffle(servers)
    with Load(running) as load:
        for killed in servers:
            eventually(lambda: outputs() >= 0, SLOW_SECONDS)
            before = outputs()
            eventually(lambda before=before: outputs() > before, SLOW_SECONDS, outputs, every_seconds=0.01)  # type: ignore[misc]
            for server in killed:
                server.kill()
            for server in killed:
                server.start()
    running.world.session.close()  # it was broken with the database
    wanted = {key: [message.id for message in load.sent if message.key == key] for key in (f"a{n}" for n in range(KEYS))}
    eventually(lambda: sum(len(running.notes(key)) for key in wanted) >= len(load.sent), SLOW_SECONDS, every_seconds=0.5)
    assert {key: running.notes(key) for key in wanted} == wanted
    eventually(lambda: running.world.outbox() == [], SLOW_SECONDS, lambda: len(running.world.outbox()))
    ids: dict[str, None] = {}
    order: dict[str, list[int]] = defaultdict(list)
    for record, _ in read_whole(running.kafka, running.results):
        headers = {name: (value or b"").decode() for name, value in record.headers}
        if headers["ce_id"] not in ids:  # a relay may send one twice, under the same id
            ids[headers["ce_id"]] = None
            order[(record.key or b"").decode()].append(int(headers[SEQUENCE]))
    assert order == {key: list(range(1, len(messages) + 1)) for key, messages in wanted.items()}
