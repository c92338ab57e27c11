"""The consumer on a real Kafka: the store's positions rule, each message counts once, and an absent database is waited for."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from devkit.postgres import PostgresServer
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def test_a_new_group_reads_from_the_earliest_and_what_follows_is_published(running: Any) -> None:
    messages = [running.world.message(f"a{n % 3}") for n in range(30)]
    running.send(*messages)
    running.consumer()
    running.relay()
    running.has(messages, "a0", "a1", "a2")
    eventually(lambda: running.world.outbox() == [], 30)
    assert running.ends(running.results) == 30


def test_the_stored_position_rules_whatever_kafka_has_committed(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(9)]
    running.send(*messages[:3])
    running.consumer()
    running.has(messages[:3], "a")
    eventually(lambda: running.committed() == 3, 20, running.committed)
    running.stop()
    running.send(*messages[3:6])
    running.forget_committed()
    running.consumer()
    running.has(messages[:6], "a")
    running.stop()
    running.send(*messages[6:])
    running.set_committed(9)
    running.consumer()
    running.has(messages, "a")
    running.stop()
    running.set_committed(0)
    running.consumer()
    last = running.world.message("a")
    running.send(last)
    running.has([*messages, last], "a")
    assert len(running.world.model()) == 10


def test_records_kafka_delivers_again_change_nothing(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(5)]
    running.send(*messages)
    running.consumer()
    running.has(messages, "a")
    running.send(*messages)
    last = running.world.message("a")
    running.send(last)
    running.has([*messages, last], "a")


def test_a_topic_deleted_and_made_again_is_read_from_its_beginning(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(5)]
    running.send(*messages[:3])
    running.consumer()
    running.has(messages[:3], "a")
    running.stop()
    running.make_anew(running.requests)
    running.send(*messages[3:])
    running.consumer()
    running.has(messages, "a")


def test_messages_that_trickle_in_are_handled_together(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(12)]
    consumer = running.consumer(pace_seconds=3.0)
    batches: list[Any] = []
    consumer._engine.listen(batches.append)
    running.send(messages[0])
    running.has(messages[:1], "a")
    for message in messages[1:]:
        running.send(message)
    running.has(messages, "a")
    assert sum(batch.published for batch in batches) == 12
    assert len(batches) <= 4


def test_two_consumers_share_the_partitions_and_one_takes_over_from_the_other(
    start: Callable[..., Any], postgres_url: Callable[[], str]
) -> None:
    running = start(postgres_url(), 4)
    accounts = [f"a{n}" for n in range(8)]
    messages = [running.world.message(accounts[n % 8]) for n in range(240)]

    def send() -> None:
        for n in range(0, 240, 8):
            running.send(*messages[n : n + 8])

    sender = threading.Thread(target=send)
    sender.start()
    first, second = running.consumer(), running.consumer()
    eventually(lambda: first._assignment.held and second._assignment.held, 60)
    assert not set(first._assignment.held) & set(second._assignment.held)
    sender.join()
    running.stop(first)
    later = [running.world.message(account) for account in accounts]
    running.send(*later)
    running.has([*messages, *later], *accounts)
    assert len(second._assignment.held) == 4


def test_a_database_that_is_away_is_waited_for_within_the_group(
    start: Callable[..., Any], private_postgres: PostgresServer
) -> None:
    running = start(private_postgres.url)
    messages = [running.world.message("a") for _ in range(6)]
    running.send(*messages[:3])
    consumer = running.consumer()
    running.has(messages[:3], "a")
    running.world.session.close()
    private_postgres.kill()
    running.send(*messages[3:])
    eventually(lambda: not running.health.snapshot()["database"].ok, 30)
    eventually(lambda: consumer._flow.away, 30)
    (described,) = running.admin.describe_consumer_groups([running.group]).values()
    members = [member.member_id for member in described.result().members]
    private_postgres.start()
    running.has(messages, "a")
    (described,) = running.admin.describe_consumer_groups([running.group]).values()
    assert [member.member_id for member in described.result().members] == members
    assert len(members) == 1


def test_a_worker_whose_position_another_moved_proves_itself_and_reads_on(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(3)]
    running.send(messages[0])
    consumer = running.consumer()
    running.has(messages[:1], "a")
    consumer._doubted.add(("a.topic.taken.away.meanwhile", 0))
    partition = next(iter(consumer._assignment._ids.values()))
    with running.world.session.transaction() as tx:
        tx.positions.claim(running.group, [partition])
    running.send(*messages[1:])
    running.has(messages, "a")


def test_a_fault_that_no_waiting_mends_is_told_of_and_hinders_no_end(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    world, message = running.world, running.world.message("a")
    with world.session.transaction() as tx:
        tx.sql.execute("ALTER TABLE model RENAME TO elsewhere")
    running.send(message)
    consumer = running.consumer()
    eventually(lambda: "consumer starts over" in caplog.messages, 60, lambda: caplog.messages)
    ending = threading.Thread(target=lambda: running.stop(consumer))
    ending.start()
    ending.join(30)
    assert not ending.is_alive()
    with world.session.transaction() as tx:
        tx.sql.execute("ALTER TABLE elsewhere RENAME TO model")
    running.consumer()
    running.has([message], "a")
