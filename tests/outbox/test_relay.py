"""The relay publishes every committed row in its key's order and removes it, through failures of broker, database and itself."""

import os
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from devkit.outbox import HEADERS, add, read, row, size
from millrace.kafka.producer import KafkaProducer
from millrace.observability.health import Health
from millrace.outbox.outbox import OutboxRow
from millrace.outbox.relay import Relay
from millrace.store.contract import Session, Store
from millrace.store.open import open_store
from millrace.testing.waiting import eventually


@pytest.fixture
def postgres(postgres_url: Callable[[], str]) -> str:
    url = postgres_url()
    open_store(url).migrate()
    return url


def test_rows_are_published_in_the_order_of_their_key_and_removed(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic(partitions=3)
    add(store, *(row(topic, f"k{n % 5}", n) for n in range(100)), row(topic, None, 100))
    new_relay(store, kafka)
    eventually(lambda: size(store) == 0, 30, lambda: size(store))
    found = read(kafka, topic, 101)
    assert len(found) == 101
    for key in range(5):
        assert [n for k, n in found if k == b"k%d" % key] == list(range(key, 100, 5))


def test_a_woken_relay_publishes_without_waiting_for_its_sweep(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic()
    relay = new_relay(store, kafka, sweep_seconds=600.0, timeout=15.0)
    add(store, row(topic, "k", 1))
    relay.wake()
    eventually(lambda: size(store) == 0, 20)
    add(store, row(topic, "k", 2))
    relay.wake()
    eventually(lambda: size(store) == 0, 20)
    assert [n for _, n in read(kafka, topic, 2)] == [1, 2]


def test_what_is_there_at_the_stop_is_published_first(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic()
    relay = new_relay(store, kafka, sweep_seconds=600.0, timeout=15.0)
    add(store, row(topic, "k", 0))
    relay.wake()
    eventually(lambda: size(store) == 0, 20)
    add(store, *(row(topic, "k", n) for n in range(1, 5)))
    relay.stop()
    assert size(store) == 0


def test_a_message_the_broker_refuses_for_good_blocks_its_key_alone(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, small = kafka_topic(), kafka_topic(max_message_bytes="1000")
    too_large = OutboxRow(small, b"k", os.urandom(10_000), HEADERS, "large")
    for_the_client = OutboxRow(topic, b"client", bytes(3_000_000), HEADERS, "larger")
    add(store, too_large, row(small, "k", 1), for_the_client, row(topic, "client", 4), row(topic, "k", 3))
    new_relay(store, kafka)
    eventually(lambda: size(store) == 4, 20, lambda: size(store))
    add(store, row(small, "other", 2))
    assert [n for _, n in read(kafka, small, 1)] == [2]
    assert [n for _, n in read(kafka, topic, 1)] == [3]


def test_rows_refused_together_arrive_and_those_too_large_alone_block_their_keys(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, small = kafka_topic(), kafka_topic(max_message_bytes="1000")
    large = [OutboxRow(small, b"large%d" % n, os.urandom(10_000), HEADERS, f"large{n}") for n in range(3)]
    keyed = [row(small, f"k{n % 25}", n) for n in range(75)]
    unkeyed = [row(small, None, n) for n in range(75, 100)]
    add(store, *large, *keyed, *unkeyed, row(small, "large0", 101), row(topic, "k", 102))
    new_relay(store, kafka)
    eventually(lambda: size(store) == 4, 30, lambda: size(store))
    add(store, row(small, "k0", 103), row(small, "large1", 104))
    eventually(lambda: size(store) == 5, 30, lambda: size(store))
    found = read(kafka, small, 101)
    for key in range(25):
        assert [n for k, n in found if k == b"k%d" % key] == [*range(key, 75, 25), *([103] if key == 0 else [])]
    assert sorted(n for k, n in found if k is None) == list(range(75, 100))
    assert [n for _, n in read(kafka, topic, 1)] == [102]


def test_many_rows_behind_a_refused_one_do_not_hide_the_others(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, small = kafka_topic(), kafka_topic(max_message_bytes="1000")
    add(
        store,
        OutboxRow(small, b"k", os.urandom(10_000), HEADERS, "large"),
        *(row(small, "k", n) for n in range(1500)),
        row(topic, "k", 1),
    )
    new_relay(store, kafka)
    eventually(lambda: size(store) == 1501, 30, lambda: size(store))


def test_after_the_broker_was_away_everything_arrives_in_order(
    store: Store, private_kafka: KafkaBroker, new_relay: Callable[..., Relay]
) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1)]).values():
        future.result()
    health = Health()
    new_relay(store, private_kafka.bootstrap, timeout=1.0, health=health)
    add(store, row("t", "k", 0))
    eventually(lambda: size(store) == 0, 20)
    private_kafka.kill()
    add(store, *(row("t", "k", n) for n in range(1, 4)), row("t", "l", 4))
    eventually(lambda: not health.snapshot()["kafka"].ok, 30, health.snapshot)
    assert size(store) == 4
    private_kafka.start()
    eventually(lambda: size(store) == 0, 60, lambda: size(store))
    found = list(dict.fromkeys(n for _, n in read(private_kafka.bootstrap, "t", 5)))
    assert [n for n in found if n != 4] == [0, 1, 2, 3]


def test_rows_that_trickle_in_go_out_together(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic()
    relay = new_relay(store, kafka, pace_seconds=2.0, round_seconds=10.0)
    rounds: list[int] = []
    once = relay._dispatch.round

    def counted(session: Session) -> bool:
        rounds.append(1)
        return once(session)

    relay._dispatch.round = counted  # type: ignore[method-assign]
    for n in range(20):
        add(store, row(topic, str(n), n))
        relay.wake()
    eventually(lambda: size(store) == 0, 30, lambda: size(store))
    assert {n for _, n in read(kafka, topic, 20)} == set(range(20))
    assert len(rounds) <= 6


def test_a_relay_without_a_broker_ends_though_others_go_on_writing(
    store: Store, new_relay: Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KafkaProducer, "topic_fault", lambda *_: None)  # the topic was there before the broker went away
    health, ended, written = Health(), threading.Event(), 0
    health.report("kafka", True)

    def write() -> None:
        nonlocal written
        while not ended.wait(0.02):  # often enough that some rows are under way at any time
            add(store, row("t", str(written), written))
            written += 1

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        relay = new_relay(store, f"127.0.0.1:{nobody.getsockname()[1]}", timeout=1.0, health=health)
        writer, ending = threading.Thread(target=write), threading.Thread(target=relay.stop, daemon=True)
        writer.start()
        try:
            eventually(lambda: not health.snapshot()["kafka"].ok, 30, health.snapshot)
            ending.start()
            ending.join(60)
            assert not ending.is_alive()
        finally:
            ended.set()
            writer.join()
    assert size(store) == written


def test_after_a_fatal_error_the_relay_goes_on_with_a_new_producer_in_order(
    store: Store, private_kafka: KafkaBroker, new_relay: Callable[..., Relay], caplog: pytest.LogCaptureFixture
) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1), NewTopic("u", 1)]).values():
        future.result()
    new_relay(store, private_kafka.bootstrap, timeout=15.0)
    add(store, row("t", "k", 0))
    eventually(lambda: size(store) == 0, 30)
    private_kafka.checkpoint("t-0")
    for n in (1, 2):
        add(store, row("t", "k", n))
        eventually(lambda: size(store) == 0, 30)
    private_kafka.roll_back("t-0")  # the broker goes on at a sequence number long past for the producer
    add(store, *(row(topic, key, n) for n in range(3, 13) for topic in ("t", "u") for key in ("k", "l")))
    eventually(lambda: size(store) == 0, 60, lambda: size(store))
    assert "relay goes on with a new producer" in caplog.messages
    for topic, lost in (("t", [0]), ("u", [])):
        found = list(dict.fromkeys(read(private_kafka.bootstrap, topic, 20 + len(lost))))
        assert [n for key, n in found if key == b"k"] == [*lost, *range(3, 13)]
        assert [n for key, n in found if key == b"l"] == list(range(3, 13))


def test_a_row_that_commits_behind_a_later_one_is_not_skipped(
    postgres: str, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, store = kafka_topic(), open_store(postgres)
    new_relay(store, kafka)
    late = store.session()
    with late.transaction() as tx:
        tx.outbox.add([row(topic, "late", 1)])
        add(store, row(topic, "early", 2))
        eventually(lambda: read(kafka, topic, 1) == [(b"early", 2)], 20)
    late.close()
    eventually(lambda: size(store) == 0, 20)
    assert read(kafka, topic, 2) == [(b"early", 2), (b"late", 1)]


def relays_alive(url: str) -> list[int]:
    """Return the backends that hold the relay's lock."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
            "AND a.datname = current_database() AND a.application_name LIKE '%relay'"
        )
        return [pid for (pid,) in found]


def test_one_relay_leads_and_another_takes_over_when_its_connection_is_killed(
    postgres: str, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, store = kafka_topic(), open_store(postgres)
    for _ in range(2):
        new_relay(store, kafka, timeout=1.0)
    add(store, row(topic, "k", 0))
    eventually(lambda: size(store) == 0, 20)
    (leader,) = relays_alive(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [leader])
    add(store, *(row(topic, "k", n) for n in range(1, 4)))
    eventually(lambda: size(store) == 0, 30, lambda: size(store))
    eventually(lambda: len(relays_alive(postgres)) == 1)
    assert relays_alive(postgres) != [leader]
    assert list(dict.fromkeys(n for _, n in read(kafka, topic, 4))) == [0, 1, 2, 3]


def test_a_successor_waits_for_what_an_unclean_leader_may_have_under_way(
    postgres: str, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, store = kafka_topic(), open_store(postgres)
    dead = store.try_lease()
    assert dead is not None
    dead.abandon()
    add(store, row(topic, "k", 0))
    began = monotonic()
    new_relay(store, kafka, timeout=1.5)
    eventually(lambda: size(store) == 0, 20)
    assert monotonic() - began >= 2.5


def test_a_relay_that_left_cleanly_is_followed_at_once(
    postgres: str, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, store = kafka_topic(), open_store(postgres)
    new_relay(store, kafka, timeout=60.0).stop()
    add(store, row(topic, "k", 0))
    new_relay(store, kafka, timeout=60.0)
    eventually(lambda: size(store) == 0, 20)


def test_writers_and_relay_side_by_side_lose_and_reorder_nothing(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic(partitions=2)
    relay = new_relay(store, kafka)

    def write(key: str) -> None:
        for n in range(30):
            add(store, row(topic, key, n))
            relay.wake()

    threads = [threading.Thread(target=write, args=(f"k{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    eventually(lambda: size(store) == 0, 30, lambda: size(store))
    found = read(kafka, topic, 90)
    by_key = {f"k{number}": [n for key, n in found if key == b"k%d" % number] for number in range(3)}
    assert by_key == {key: list(range(30)) for key in by_key}


def test_rows_of_a_topic_that_is_not_there_wait_for_it_and_hold_up_no_others(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, late = kafka_topic(), kafka_topic("late")
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([late], operation_timeout=30)[late].result()
    eventually(lambda: late not in admin.list_topics(timeout=10).topics, 30)
    add(store, *(row(late, "k", n) for n in range(3)), *(row(topic, "k", n) for n in range(10)))
    new_relay(store, kafka, timeout=60.0)
    eventually(lambda: size(store) == 3, 30, lambda: size(store))
    admin.create_topics([NewTopic(late, 1)], operation_timeout=30)[late].result()
    eventually(lambda: size(store) == 0, 120, lambda: size(store))
    assert [n for _, n in read(kafka, late, 3)] == [0, 1, 2]
