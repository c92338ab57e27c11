"""A whole day of messages is delivered again, to every service: no table and no topic of the shop is other than before."""

import re
import signal
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from devkit.services import SERVICES
from devkit.stack import Stack
from millrace.pipeline.claiming import RESET
from millrace.store.open import open_store
from millrace.store.sql import Sql
from millrace.testing.waiting import eventually
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import place, wait_settled
from shopkit.testing.outcomes import DECLINED, DELAYED, HAPPY, REFUSED, SHORT
from shopkit.testing.records import all_read, read_all, topic_names
from shopkit.topics import GROUPS, PARTITIONS

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
MIX = (HAPPY, DECLINED, DELAYED, REFUSED, SHORT) * 2
_UNDER_WAY = ("outbox", "timer", "effect", "parked")
# The tables of the library's migrations and relay, and of PostgreSQL's partitions, say nothing of messages.
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%yoyo%'",
    "postgresql": "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
    "AND relnamespace = current_schema()::regnamespace AND relname NOT LIKE '%yoyo%'",
}
# Who owns a partition, since when, and by which reset it was moved, is no message's doing.
_COLUMNS = {"consumer_position": "grp, topic, part, coalesce(next_offset, 0)"}


def read(stack: Stack, service: str, ask: Callable[[Sql], Any]) -> Any:
    store = open_store(stack.instance(service).store_url)
    session = store.session()
    try:
        with session.transaction() as tx:
            return ask(tx.sql)
    finally:
        session.close()
        store.close()


def tables(stack: Stack, kind: str) -> dict[tuple[str, str], list[str]]:
    """Return every row of every table of every service."""

    def rows(sql: Sql) -> dict[str, list[str]]:
        names = sorted(name for (name,) in sql.execute(_TABLES[kind]) if name != "relay_exit")
        return {name: sorted(map(str, sql.execute(f"SELECT {_COLUMNS.get(name, '*')} FROM {name}"))) for name in names}

    return {(service, name): found for service in SERVICES for name, found in read(stack, service, rows).items()}


def is_idle(stack: Stack) -> bool:
    def count(sql: Sql) -> int:
        return sum(int(sql.execute(f"SELECT count(*) FROM {table}")[0][0]) for table in _UNDER_WAY)

    return all_read(stack.bootstrap) and all(read(stack, service, count) == 0 for service in SERVICES)


def end_all(stack: Stack) -> None:
    for service in SERVICES:
        assert stack.kill(service, sign=signal.SIGTERM) == 0, service


def order_reset(stack: Stack) -> None:
    """Order every group back to the beginning of all its topics, as the operator's OffsetReset does."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for group in GROUPS:
        metadata = f"{RESET}{uuid4()}"
        parts = [TopicPartition(topic, number, 0, metadata) for topic in group.topics for number in range(PARTITIONS)]
        asked = [ConsumerGroupTopicPartitions(group.id, parts)]

        def is_moved(asked: list[ConsumerGroupTopicPartitions] = asked) -> bool:
            (answer,) = admin.alter_consumer_group_offsets(asked).values()
            return all(part.error is None for part in answer.result().topic_partitions)

        eventually(is_moved, 60)


def left_out(stack: Stack) -> int:
    """Return how many messages the running services were shown and knew already."""
    found = 0.0
    for instance in stack.instances:
        with urllib.request.urlopen(instance.metrics_url, timeout=10) as answer:
            page = answer.read().decode()
        found += sum(
            float(value)
            for value in re.findall(r'^millrace_pipeline_messages_total\{.*outcome="duplicate"\} (\S+)', page, re.MULTILINE)
        )
    return int(found)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_day_delivered_again_changes_no_table_and_no_topic(
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
    store: str,
) -> None:
    stack = shop_stack(store=store, env=quick_settings)
    shop = connect(stack)
    with ThreadPoolExecutor(len(MIX)) as threads:
        placed = list(threads.map(lambda outcome: place(shop, outcome), MIX))
    wait_settled(shop, placed, within_seconds=90)
    eventually(lambda: is_idle(stack), 60)
    end_all(stack)
    before = tables(stack, store)
    every = [*topic_names(), *topic_names(dead_letters=True)]
    records = read_all(stack.bootstrap, every)
    delivered = sum(seen.topic in group.topics for group in GROUPS for seen in records)

    order_reset(stack)
    assert not all_read(stack.bootstrap)
    for service in SERVICES:
        stack.restart(service, wait=False)
    stack.wait_serving()
    eventually(lambda: left_out(stack) >= delivered, 90, lambda: (left_out(stack), delivered))
    eventually(lambda: is_idle(stack), 60)
    end_all(stack)

    after = tables(stack, store)
    assert [name for name in before if before[name] != after.get(name)] == []
    assert after.keys() == before.keys()
    assert [(s.topic, s.partition, s.offset, s.id) for s in read_all(stack.bootstrap, every) if s not in records] == []
