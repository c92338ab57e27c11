"""Where the tiny service of accounts works: a broker, a store of each kind, and topics and a group of its own."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devkit.accounts import Place
from devkit.processes import Children
from millrace.envelope import encode_headers
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer
from millrace.message import Message
from millrace.store.contract import Store
from millrace.store.open import open_store


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as children:
        yield children


@pytest.fixture
def new_place(kafka: str, kafka_topic: Callable[..., str], tmp_path: Path) -> Callable[..., Place]:
    def make(store_url: str, *, partitions: int = 1, instance: str = "") -> Place:
        requests, results = kafka_topic("requests", partitions=partitions), kafka_topic("results")
        return Place(store_url, kafka, requests, results, f"accounts-{secrets.token_hex(6)}", str(tmp_path / "calls"), instance)

    return make


@pytest.fixture
def new_store() -> Iterator[Callable[[Place], Store]]:
    stores: list[Store] = []

    def make(place: Place) -> Store:
        stores.append(open_store(place.store_url))
        stores[-1].migrate()
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return make()


@pytest.fixture
def send(kafka: str) -> Callable[..., None]:
    """Give what sends messages to a topic, in order, and returns once the broker has them."""
    producer = KafkaProducer(KafkaConfig(kafka, message_timeout_seconds=30.0))

    def send(topic: str, *messages: Message) -> None:
        failures: list[object] = []
        for message in messages:
            key = None if message.key is None else message.key.encode()
            producer.send(topic, key, message.payload, encode_headers(message), lambda error, _: failures.append(error))
        assert producer.flush(30) == 0
        assert set(failures) == {None}

    return send
