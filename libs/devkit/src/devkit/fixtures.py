"""The pytest plugin: real servers, one of each a session, and fresh topics, databases and shops on them.

A server named by MILLRACE_KAFKA_BOOTSTRAP or MILLRACE_POSTGRES_URL is used instead of starting one. Tests that take one of these
fixtures are marked `servers` by that alone.
"""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker, answers
from devkit.postgres import PostgresServer, create_database, drop_database
from devkit.waiting import wait_until

if TYPE_CHECKING:
    from devkit.collector import TraceCollector
    from devkit.stack import Stack

_SERVER_FIXTURES = {"kafka", "kafka_topic", "private_kafka", "postgres_server", "private_postgres", "postgres_url", "shop_stack"}


def pytest_configure() -> None:
    """Have children obey Ctrl-C also where a shell started the tests in the background, which has them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that takes a server, by a fixture or by the parameter `postgresql`, and put those of the whole shop first.

    Modules are handed to the workers in this order: the longest last would leave one worker alone with them.
    """
    items.sort(key=lambda item: not item.nodeid.startswith("tests/shop/"))
    for item in items:
        parameters = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        if _SERVER_FIXTURES & set(getattr(item, "fixturenames", ())) or "postgresql" in parameters:
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Give the address of the session's broker, `host:port`. It is shared: use topics and groups of your own, never stop it."""
    given = os.environ.get("MILLRACE_KAFKA_BOOTSTRAP")
    if given:
        assert answers(given), f"MILLRACE_KAFKA_BOOTSTRAP names {given}, and nothing answers there"
        yield given
        return
    with KafkaBroker() as broker:
        yield broker.bootstrap


@pytest.fixture
def kafka_topic(kafka: str) -> Iterator[Callable[..., str]]:
    """Give a factory of topics with unique names: `kafka_topic(partitions=1, **config)` returns the name; removed at the end."""
    admin = AdminClient({"bootstrap.servers": kafka})
    made: list[str] = []

    def make(name: str = "test", *, partitions: int = 1, **config: str) -> str:
        topic = f"{name}.{secrets.token_hex(6)}"
        new = NewTopic(topic, num_partitions=partitions, config={key.replace("_", "."): value for key, value in config.items()})
        for future in admin.create_topics([new], operation_timeout=30).values():
            future.result()
        made.append(topic)
        # Made is not yet known: the broker tells its clients of a topic a moment later.
        wait_until(lambda: topic in admin.list_topics(timeout=10).topics, what=f"{topic} known", timeout_seconds=30)
        return topic

    yield make
    if made:
        for future in admin.delete_topics(made, operation_timeout=30).values():
            future.result()


@pytest.fixture
def private_kafka() -> Iterator[KafkaBroker]:
    """Give a broker of the test's own, which it may stop, kill and restart."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the address of the session's PostgreSQL server, as one that may create databases. Shared: never stop it."""
    given = os.environ.get("MILLRACE_POSTGRES_URL")
    if given:
        yield given
        return
    with PostgresServer() as server:
        yield server.url


@pytest.fixture
def private_postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server of the test's own, which it may stop, kill and restart."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Give a factory of fresh, empty databases: `postgres_url()` returns an address; dropped at the end."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{secrets.token_hex(8)}")
        return create_database(postgres_server, made[-1])

    yield make
    for name in made:
        drop_database(postgres_server, name)


@pytest.fixture
def trace_collector() -> Iterator["TraceCollector"]:
    """Give an OTLP collector of the test's own: programs export to its `endpoint`, `spans` are what has arrived."""
    from devkit.collector import TraceCollector  # noqa: PLC0415 - few tests look at traces

    collector = TraceCollector()
    yield collector
    collector.close()


@pytest.fixture
def shop_stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., "Stack"]]:
    """Give a factory of running shops: `shop_stack(store="sqlite", **settings)`, each with a broker of its own; stopped at the end.

    The settings are those of `devkit.stack.StackSettings`. With PostgreSQL the databases are made on the session's server.
    """
    from devkit.shops import Shops  # noqa: PLC0415 - only tests of the shop need the shop to be importable

    with ExitStack() as exits:
        yield Shops(tmp_path, lambda: request.getfixturevalue("postgres_server"), exits)
