from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from millrace.errors import Unavailable
from shopkit.topics import GROUPS, TOPICS, PartitionsDiffer, all_topics, create_topics, ensure_topics, group_of


class FakeAdmin:
    """A cluster's topics, with the two calls of AdminClient."""

    def __init__(self, topics: dict[str, int] | None = None) -> None:
        self.topics = dict(topics or {})
        self.created: list[NewTopic] = []
        self.refusal: int | None = None
        self.away = False
        self.forgets = False

    def list_topics(self, *, timeout: float) -> Any:
        assert timeout > 0
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(
            topics={name: SimpleNamespace(partitions=dict.fromkeys(range(count))) for name, count in self.topics.items()}
        )

    def create_topics(self, new_topics: list[NewTopic], *, operation_timeout: float) -> dict[str, Future[None]]:
        futures: dict[str, Future[None]] = {}
        for new in new_topics:
            future: Future[None] = Future()
            if self.refusal is None:
                future.set_result(None)
            else:
                future.set_exception(KafkaException(KafkaError(self.refusal)))
            self.created.append(new)
            if not self.forgets:
                self.topics[new.topic] = new.num_partitions
            futures[new.topic] = future
        return futures


def test_groups_read_what_the_design_says() -> None:
    orders = {"order.created", "order.confirmed", "order.cancelled", "order.completed"}
    shipping = {"shipping.scheduled", "shipping.delayed", "shipping.failed", "shipping.delivered"}
    assert {group.id: set(group.topics) for group in GROUPS} == {
        "order-service": {"payment.result", "inventory.result", "item.changed"} | shipping,
        "payment-service": {"payment.request"},
        "inventory-service": {"inventory.request"},
        "shipping-service": {"order.confirmed", "order.cancelled"},
        "notification-service": orders | shipping,
        "analytics-service": orders | shipping,
    }


def test_groups_read_declared_topics_by_name_and_never_by_pattern() -> None:
    declared = {spec.name for spec in TOPICS}
    for group in GROUPS:
        assert set(group.topics) <= declared
        assert len(set(group.topics)) == len(group.topics)
        assert group_of(group.service) is group


def test_every_topic_has_six_partitions_and_a_dead_letter_topic_kept_longer_and_larger() -> None:
    names = [spec.name for spec in all_topics()]
    assert len(names) == len(set(names)) == 2 * len(TOPICS)
    for spec in TOPICS:
        dead = spec.dead_letter
        assert (dead.name, dead.partitions, spec.partitions) == (f"{spec.name}.dlt", 6, 6)
        assert int(dead.config["retention.ms"]) >= 30 * 24 * 3600 * 1000
        assert spec.config["max.message.bytes"] == "1048576"
        assert int(dead.config["max.message.bytes"]) > 1048576
        assert "cleanup.policy" not in dead.config


def test_the_catalogue_is_compacted_and_what_analytics_reads_is_kept_for_good() -> None:
    config = {spec.name: spec.config for spec in TOPICS}
    assert [name for name, settings in config.items() if settings.get("cleanup.policy") == "compact"] == ["item.changed"]
    assert {config[name]["retention.ms"] for name in group_of("analytics").topics} == {"-1"}
    assert config["payment.request"]["retention.ms"] == "604800000"


def test_missing_topics_are_created_as_declared_and_only_once() -> None:
    admin = FakeAdmin({"payment.request": 6})
    created = ensure_topics(admin, replication_factor=3)
    assert created == [spec.name for spec in all_topics() if spec.name != "payment.request"]
    item = next(new for new in admin.created if new.topic == "item.changed")
    assert (item.num_partitions, item.replication_factor) == (6, 3)
    assert item.config == {"cleanup.policy": "compact", "max.message.bytes": "1048576", "min.insync.replicas": "2"}
    assert ensure_topics(admin, replication_factor=3) == []


def test_a_topic_with_other_partitions_stops_everything_before_anything_is_created() -> None:
    admin = FakeAdmin({"order.created": 3, "order.created.dlt": 1, "elsewhere": 1})
    with pytest.raises(PartitionsDiffer) as refusal:
        ensure_topics(admin)
    assert str(refusal.value) == (
        "order.created has 3 partitions, declared are 6; order.created.dlt has 1 partitions, declared are 6"
    )
    assert admin.created == []


def test_a_topic_that_another_instance_created_meanwhile_is_no_fault() -> None:
    admin = FakeAdmin()
    admin.refusal = KafkaError.TOPIC_ALREADY_EXISTS
    assert ensure_topics(admin) == []


def test_a_refusal_of_the_broker_is_passed_on() -> None:
    admin = FakeAdmin()
    admin.refusal = KafkaError.TOPIC_AUTHORIZATION_FAILED
    with pytest.raises(KafkaException):
        ensure_topics(admin)


def test_a_broker_that_is_away_or_never_shows_the_topics_is_unavailable() -> None:
    away, forgetful = FakeAdmin(), FakeAdmin()
    away.away = forgetful.forgets = True
    for admin in (away, forgetful):
        with pytest.raises(Unavailable):
            ensure_topics(admin, timeout_seconds=0.2)


def test_nothing_at_the_address_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        create_topics("127.0.0.1:9", {"log_level": "0"}, timeout_seconds=0.5)


def test_a_real_broker_gets_every_topic_as_declared(kafka: str) -> None:
    create_topics(kafka)
    assert create_topics(kafka) == []
    admin = AdminClient({"bootstrap.servers": kafka})
    found = admin.list_topics(timeout=10).topics
    resources = {spec.name: ConfigResource(ConfigResource.Type.TOPIC, spec.name) for spec in all_topics()}
    settings = {resource.name: future.result() for resource, future in admin.describe_configs(list(resources.values())).items()}
    for spec in all_topics():
        assert len(found[spec.name].partitions) == spec.partitions
        for name, value in spec.config.items():
            assert settings[spec.name][name].value == value, f"{spec.name} {name}"
