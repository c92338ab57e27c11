"""Rows that cannot go out hide none behind them, however many they are, and go out in order once they can."""

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client import REGISTRY

from devkit.outbox import HEADERS, add, read, row, size
from millrace.observability.health import Health
from millrace.outbox import dispatch as dispatch_module
from millrace.outbox.config import RelayConfig
from millrace.outbox.outbox import OutboxRow
from millrace.outbox.relay import Relay
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.contract import Store
from millrace.testing.waiting import eventually


def test_rows_of_a_missing_topic_hide_no_others_and_arrive_once_it_is_made(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, late = kafka_topic(), f"late.{uuid4()}"
    add(store, *(row(late, f"k{n % 500}" if n % 5 else None, n) for n in range(5000)), *(row(topic, "k", n) for n in range(10)))
    health = Health()
    new_relay(store, kafka, health=health, held_seconds=1.0)
    eventually(lambda: size(store) == 5000, 60, lambda: size(store))
    assert [n for _, n in read(kafka, topic, 10)] == list(range(10))
    assert health.snapshot()["kafka"].ok
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(late, 3)], operation_timeout=30)[late].result()
    eventually(lambda: size(store) == 0, 60, lambda: size(store))
    found = read(kafka, late, 5000)
    assert sorted(n for _, n in found) == list(range(5000))
    for key in {key for key, _ in found} - {None}:
        numbers = [n for k, n in found if k == key]
        assert numbers == sorted(numbers)
    admin.delete_topics([late], operation_timeout=30)[late].result()


def test_rows_of_a_topic_that_was_deleted_hide_no_others(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, gone = kafka_topic(), f"gone.{uuid4()}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(gone, 1)], operation_timeout=30)[gone].result()
    new_relay(store, kafka, timeout=2.0)
    add(store, row(gone, "k", 0))
    eventually(lambda: size(store) == 0, 30, lambda: size(store))
    admin.delete_topics([gone], operation_timeout=30)[gone].result()
    add(store, *(row(gone, f"k{n}", n) for n in range(5000)), row(topic, "k", 1))
    eventually(lambda: size(store) == 5000, 60, lambda: size(store))


class PlayedProducer:
    """Answers at once: delivered, or, for a topic that has an answer of its own in `answers`, that error."""

    broken = False

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.delivered: list[bytes] = []

    def __call__(self, *_: object) -> "PlayedProducer":
        return self

    def send(self, topic: str, key: object, value: bytes, headers: object, report: Any, *, alone: bool = False) -> None:
        if topic in self.answers:
            report(KafkaError(self.answers[topic]), None)
        else:
            self.delivered.append(value)
            report(None, None)

    def poll(self, timeout_seconds: float = 0.0) -> int:
        return 0

    def flush(self, timeout_seconds: float) -> int:
        return 0

    def probe(self, timeout_seconds: float) -> None:
        pass

    def topic_fault(self, topic: str, timeout_seconds: float) -> str | None:
        return None

    def explain(self, what: str) -> str:
        return what


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedProducer:
    producer = PlayedProducer()
    monkeypatch.setattr(dispatch_module, "KafkaProducer", producer)
    return producer


def held_back() -> tuple[float | None, float | None]:
    """Return the refused messages and the held topics that the metrics of the relays here show."""
    refused, topics = (
        REGISTRY.get_sample_value(f"millrace_outbox_{name}", {"group": "test"}) for name in ("refused_messages", "held_topics")
    )
    return refused, topics


def test_metrics_show_refused_messages_and_held_topics_until_they_go_out(
    store: Store, played: PlayedProducer, new_relay: Callable[..., Relay]
) -> None:
    played.answers.update({"small": KafkaError.MSG_SIZE_TOO_LARGE, "forbidden": KafkaError.TOPIC_AUTHORIZATION_FAILED})
    add(store, row("small", "k", 0), row("small", "k", 1), row("small", None, 2), row("forbidden", "k", 3))
    relay = new_relay(store, "played:1", sweep_seconds=0.01, held_seconds=0.05, refused_seconds=0.05)
    eventually(lambda: held_back() == (2, 1), 20, held_back)
    del played.answers["small"]
    eventually(lambda: held_back() == (0, 1), 20, held_back)
    del played.answers["forbidden"]
    eventually(lambda: held_back() == (0, 0), 20, held_back)
    played.answers["small"] = KafkaError.MSG_SIZE_TOO_LARGE
    add(store, row("small", "k", 4))
    eventually(lambda: held_back() == (1, 0), 20, held_back)
    relay.stop()
    assert held_back() == (0, 0)


def test_a_refused_message_is_shown_without_a_break_while_it_is_tried_again_and_not_once_it_went_out(
    store: Store, played: PlayedProducer, new_relay: Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    monkeypatch.setattr(PipelineMetrics, "held_back", lambda _, refused, topics: shown.append(refused))
    monkeypatch.setattr(PipelineMetrics, "delivered", lambda _, count: shown.append(-count))
    played.answers["small"] = KafkaError.MSG_SIZE_TOO_LARGE
    add(store, *(row("small", f"k{n}", n) for n in range(30)))
    new_relay(store, "played:1", sweep_seconds=0.01, refused_seconds=0.5, max_batch=10)
    eventually(lambda: shown.count(30) > 200, 40, lambda: shown)
    assert set(shown[shown.index(30) :]) == {30}
    del played.answers["small"]
    eventually(lambda: shown[-1] == 0, 20, lambda: shown)
    first = next(at for at, count in enumerate(shown) if count < 0)
    assert shown[first + 1] == 30 + shown[first]


def test_rows_of_a_topic_we_have_no_right_to_hide_no_others_and_go_out_once_it_is_granted(
    store: Store, played: PlayedProducer, new_relay: Callable[..., Relay]
) -> None:
    played.answers["forbidden"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    add(store, *(row("forbidden", f"k{n}", n) for n in range(100)), *(row("t", "k", n) for n in range(100, 110)))
    new_relay(store, "played:1", max_batch=10, held_seconds=0.2)
    eventually(lambda: size(store) == 100, 20, lambda: size(store))
    assert played.delivered == [b"%d" % n for n in range(100, 110)]
    del played.answers["forbidden"]
    eventually(lambda: size(store) == 0, 20, lambda: size(store))
    assert played.delivered[10:] == [b"%d" % n for n in range(100)]


def test_more_refused_keys_than_can_be_left_out_one_by_one_hide_no_other_topic(
    store: Store, played: PlayedProducer, new_relay: Callable[..., Relay]
) -> None:
    played.answers["small"] = KafkaError.MSG_SIZE_TOO_LARGE
    add(store, *(row("small", f"k{n}", n) for n in range(12_000)), row("t", "k", 1))
    new_relay(store, "played:1", held_seconds=0.2)
    eventually(lambda: played.delivered == [b"1"], 40, lambda: size(store))


def test_settings_under_which_more_would_be_left_out_than_a_statement_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 9500"):
        RelayConfig(max_batch=2000)


def test_rows_behind_a_refused_one_hide_no_others_even_if_it_is_tried_again_all_the_time(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic, small = kafka_topic(), kafka_topic(max_message_bytes="1000")
    large = OutboxRow(small, b"k", os.urandom(10_000), HEADERS, "large")
    behind = [row(small, "k", n) for n in range(1000)]
    add(store, large, *behind, *(row(small, "l", n) for n in range(20)), *(row(topic, None, n) for n in range(20)))
    new_relay(store, kafka, max_batch=10, refused_seconds=0.5)
    eventually(lambda: size(store) == 1001, 30, lambda: size(store))
    assert [n for _, n in read(kafka, small, 20)] == list(range(20))


def test_the_many_rows_of_one_key_do_not_make_others_wait_until_they_are_gone(
    store: Store, kafka: str, kafka_topic: Any, new_relay: Callable[..., Relay]
) -> None:
    topic = kafka_topic()
    add(store, *(row(topic, "busy", n) for n in range(500)), row(topic, "other", 500))
    new_relay(store, kafka, max_batch=10)
    eventually(lambda: size(store) == 0, 60, lambda: size(store))
    numbers = [n for _, n in read(kafka, topic, 501)]
    assert numbers.index(500) < 100
    numbers.remove(500)
    assert numbers == list(range(500))
