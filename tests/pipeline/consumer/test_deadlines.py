"""Timers and the replies they wait for, on a real Kafka: a deadline passes only once every earlier reply has been handled."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from devkit.kafka import KafkaBroker
from millrace.decision import Decision, Publish, StartTimer
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def start_timer(world: Any) -> None:
    world.scripts["start"] = lambda body, s, c: Decision(timers=[StartTimer("t", "x", timedelta(milliseconds=50))])


def has_timer(world: Any) -> bool:
    with world.session.transaction() as tx:
        return bool(tx.sql.execute("SELECT id FROM timer"))


def test_a_timer_waits_for_the_replies_that_are_still_in_kafka(running: Any) -> None:
    """After an outage the deadline is long past when the reply is read; nothing but the reply may happen."""
    world, replies = running.world, running.results
    deadline = StartTimer("deadline", "ask", timedelta(milliseconds=200))
    world.scripts["ask"] = lambda body, s, c: Decision(
        publish=[Publish(world.payment.PaymentDeclinedEvent(order_id="a"), deadline=deadline)]
    )
    world.scripts["reply"] = lambda body, s, c: Decision([("account-a", world.Charged(1, "reply"))], cancel_timers=["deadline"])
    running.send(world.message("a", does="ask"))
    running.consumer(reply_topics=[replies])
    eventually(world.outbox, 30)
    running.stop()
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(10), 1)
    running.send(*(world.message(f"b{n}") for n in range(400)), topic=replies)
    running.send(world.message("a", does="reply"), topic=replies)
    running.consumer(topics=[running.requests, replies], reply_topics=[replies])
    eventually(lambda: world.notes("a"), 60)
    assert world.notes("a") == ["reply"]


def test_a_timer_fires_once_its_group_has_caught_up(running: Any) -> None:
    world = running.world
    start_timer(world)
    running.send(world.message("b"), topic=running.results)
    running.send(world.message("a", does="start"))
    running.consumer(topics=[running.requests, running.results], reply_topics=[running.results])
    eventually(lambda: world.notes("a") == ["t x 1"], 60, lambda: world.notes("a"))


def test_a_reply_topic_whose_records_have_all_expired_holds_no_timer_back(running: Any) -> None:
    world = running.world
    start_timer(world)
    running.send(*(world.message("b") for _ in range(3)), topic=running.results)
    (answer,) = running.admin.delete_records([TopicPartition(running.results, 0, 3)]).values()
    answer.result()
    running.send(world.message("a", does="start"))
    running.consumer(topics=[running.requests, running.results], reply_topics=[running.results])
    eventually(lambda: world.notes("a") == ["t x 1"], 60, lambda: world.notes("a"))


def test_transaction_markers_behind_the_last_reply_hold_no_timer_back(running: Any) -> None:
    world = running.world
    start_timer(world)
    producer = Producer({"bootstrap.servers": running.kafka.bootstrap, "transactional.id": running.group})
    producer.init_transactions(30)
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce(running.results, b"no message", b"k")
        producer.flush(30)
        end(30)
    eventually(lambda: running.ends(running.results) == 4, 30, lambda: running.ends(running.results))
    running.send(world.message("a", does="start"))
    running.consumer(topics=[running.requests, running.results], reply_topics=[running.results])
    eventually(lambda: world.notes("a") == ["t x 1"], 60, lambda: world.notes("a"))


def test_timers_that_fall_due_while_the_broker_is_away_wait_for_it(
    private_kafka: KafkaBroker, start: Callable[..., Any], tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = start(f"sqlite:///{tmp_path}/store.db", broker=private_kafka.bootstrap)
    world = running.world
    world.scripts["start"] = lambda body, s, c: Decision(timers=[StartTimer("t", "x", timedelta(seconds=2))])
    running.send(world.message("a", does="start"))
    with caplog.at_level(logging.WARNING):
        running.consumer(topics=[running.requests, running.results], reply_topics=[running.results])
        eventually(lambda: has_timer(world), 60)
        private_kafka.kill()
        eventually(lambda: "timers wait for the broker" in caplog.messages, 60, lambda: caplog.messages)
        private_kafka.start()
        eventually(lambda: world.notes("a") == ["t x 1"], 60, lambda: world.notes("a"))
    assert "consumer starts over" not in caplog.messages
