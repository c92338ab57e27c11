"""Every topic and consumer group of the shop, declared once: services, tests and manifests read this list.

Topics are named here and subscribed to by name, never by a pattern: `order.*` would match `order.created.dlt` too.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from millrace.errors import PermanentError, Unavailable
from millrace.kafka.config import ClientSettings
from millrace.kafka.connection import ConnectionLog

PARTITIONS = 6
_DAY_MS = 24 * 60 * 60 * 1000
_MIB = 1024 * 1024

# As long as message ids are remembered: whatever can be read again is recognised.
_WEEK = MappingProxyType({"retention.ms": str(7 * _DAY_MS), "max.message.bytes": str(_MIB)})
# Kept for good: analytics is rebuilt from them.
_FOR_GOOD = MappingProxyType({"retention.ms": "-1", "max.message.bytes": str(_MIB)})
_COMPACTED = MappingProxyType({"cleanup.policy": "compact", "max.message.bytes": str(_MIB)})
# Long enough for people to look; room for a record of full size and the headers that say why it is dead.
_DEAD_LETTERS = MappingProxyType({"retention.ms": str(30 * _DAY_MS), "max.message.bytes": str(2 * _MIB)})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. `config` holds Kafka's own topic settings, by Kafka's names and units."""

    name: str
    partitions: int = PARTITIONS
    config: Mapping[str, str] = field(default_factory=lambda: _WEEK)

    @property
    def dead_letter(self) -> "TopicSpec":
        """The topic that gets copies of what could not be handled."""
        return TopicSpec(f"{self.name}.dlt", self.partitions, _DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A consumer group: which service it belongs to and what it reads."""

    id: str
    service: str
    topics: tuple[str, ...]


ORDER_EVENTS = ("order.created", "order.confirmed", "order.cancelled", "order.completed")
SHIPPING_EVENTS = ("shipping.scheduled", "shipping.delayed", "shipping.failed", "shipping.delivered")

TOPICS = (
    *(TopicSpec(name, config=_FOR_GOOD) for name in ORDER_EVENTS),
    TopicSpec("payment.request"),
    TopicSpec("payment.result"),
    TopicSpec("inventory.request"),
    TopicSpec("inventory.result"),
    TopicSpec("item.changed", config=_COMPACTED),
    *(TopicSpec(name, config=_FOR_GOOD) for name in SHIPPING_EVENTS),
    TopicSpec("notification.sent"),
)

GROUPS = (
    GroupSpec("order-service", "order", ("payment.result", "inventory.result", *SHIPPING_EVENTS, "item.changed")),
    GroupSpec("payment-service", "payment", ("payment.request",)),
    GroupSpec("inventory-service", "inventory", ("inventory.request",)),
    GroupSpec("shipping-service", "shipping", ("order.confirmed", "order.cancelled")),
    GroupSpec("notification-service", "notification", (*ORDER_EVENTS, *SHIPPING_EVENTS)),
    GroupSpec("analytics-service", "analytics", (*ORDER_EVENTS, *SHIPPING_EVENTS)),
)


def group_of(service: str) -> GroupSpec:
    """Return the group of a service. Raises KeyError for a service there is not."""
    return {group.service: group for group in GROUPS}[service]


def all_topics() -> tuple[TopicSpec, ...]:
    """Return every topic, each followed by its dead letter topic."""
    return tuple(spec for topic in TOPICS for spec in (topic, topic.dead_letter))


class PartitionsDiffer(PermanentError):
    """A topic exists with another number of partitions than declared, so keys would be found in other places than written."""


class Admin(Protocol):
    """The calls of confluent-kafka's AdminClient that creating topics takes."""

    def list_topics(self, *, timeout: float) -> Any:
        """Return the cluster's topics: a ClusterMetadata."""

    def create_topics(self, new_topics: list[NewTopic], *, operation_timeout: float) -> dict[str, Future[None]]:
        """Create topics; each future ends when its topic is there."""


def create_topics(
    bootstrap: str,
    client_config: ClientSettings | None = None,
    replication_factor: int = 1,
    timeout_seconds: float = 30,
) -> list[str]:
    """Make every topic exist, and return the names of those that did not. Running it again changes nothing.

    `client_config` are further settings of the Kafka client, such as TLS and SASL. Settings of existing topics are left alone.
    Raises PartitionsDiffer, before anything is created, if a topic exists otherwise than declared; Unavailable if the broker does
    not answer within `timeout_seconds`, with the reason why if its connections were refused; KafkaException if it refuses to create.
    """
    connection = ConnectionLog()
    admin = AdminClient({**(client_config or {}), "bootstrap.servers": bootstrap}, logger=connection)
    try:
        return ensure_topics(admin, replication_factor, timeout_seconds)
    except Unavailable as fault:
        admin.poll(0)  # it hands its log over only here
        raise Unavailable(connection.explain(str(fault))) from fault


def ensure_topics(admin: Admin, replication_factor: int = 1, timeout_seconds: float = 30) -> list[str]:
    """Do what `create_topics` says, over a client that is already there."""
    deadline = time.monotonic() + timeout_seconds
    present = _partitions(admin, timeout_seconds)
    missing = [spec for spec in all_topics() if spec.name not in present]
    if not missing:
        return []
    in_sync = {"min.insync.replicas": str(max(1, replication_factor - 1))}
    wanted = [NewTopic(spec.name, spec.partitions, replication_factor, config={**spec.config, **in_sync}) for spec in missing]
    futures = admin.create_topics(wanted, operation_timeout=timeout_seconds)
    created = [name for name, future in futures.items() if _done(future, deadline)]
    while len(_partitions(admin, deadline - time.monotonic())) < len(all_topics()):
        if time.monotonic() > deadline:
            raise Unavailable("Kafka did not show the created topics in time")
        time.sleep(0.05)
    return created


def _partitions(admin: Admin, timeout_seconds: float) -> dict[str, int]:
    """Return how many partitions each declared topic has that exists. Raises PartitionsDiffer where that is wrong."""
    try:
        found = admin.list_topics(timeout=max(timeout_seconds, 0.001)).topics
    except KafkaException as fault:
        raise Unavailable(f"Kafka does not answer: {fault}") from fault
    present = {spec.name: len(found[spec.name].partitions) for spec in all_topics() if spec.name in found}
    faults = [
        f"{spec.name} has {present[spec.name]} partitions, declared are {spec.partitions}"
        for spec in all_topics()
        if present.get(spec.name, spec.partitions) != spec.partitions
    ]
    if faults:
        raise PartitionsDiffer("; ".join(faults))
    return present


def _done(future: Future[None], deadline: float) -> bool:
    """Wait for one topic and say whether it is this call that created it."""
    try:
        future.result(max(deadline - time.monotonic(), 0.001))
    except KafkaException as refusal:
        error: KafkaError = refusal.args[0]
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    except TimeoutError as late:
        raise Unavailable("Kafka did not create the topics in time") from late
    return True
