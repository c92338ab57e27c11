"""A broker that asks who is there: every client works over TLS with SASL or a certificate, and one that is refused says why."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.certificates import Authority
from devkit.kafka import KafkaBroker
from devkit.kafka_access import kafka_environment
from devkit.kafka_security import BrokerSecurity
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.services import SERVICES, Instance, is_serving
from devkit.waiting import wait_until
from devkit.workspace import free_port
from millrace.errors import TransientError, Unavailable
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.kafka.topics import TopicIds
from millrace.message import Message
from millrace.pubsub import Outgoing
from millrace.testing.pubsub import collect, messages, payloads, to
from millrace.testing.waiting import eventually
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand, PaymentChargedEvent
from shop.types.v1.money_pb2 import Money
from shopkit.testing.connection import ShopConnection, is_there
from shopkit.testing.driver import place, wait_ready, wait_settled
from shopkit.testing.outcomes import HAPPY
from shopkit.topics import create_topics

pytestmark = pytest.mark.servers

USER, PASSWORD = "millrace", "correct horse"
ENDS_WITHIN_SECONDS = 15.0


@dataclass(frozen=True)
class Secured:
    """The broker, and how to be let in."""

    broker: KafkaBroker
    sasl: KafkaConfig
    tls: KafkaConfig
    stranger: Authority

    def topic(self) -> str:
        name = f"t-{uuid4()}"
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        for future in admin.create_topics([NewTopic(name, 1)], operation_timeout=30).values():
            future.result()
        return name


def publisher_of(config: KafkaConfig) -> KafkaPublisher:
    """Return a publisher that is as patient as a machine under load asks for."""
    return KafkaPublisher(replace(config, message_timeout_seconds=60.0), timeout_seconds=60.0)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority, stranger = (Authority(tmp_path_factory.mktemp(name)) for name in ("authority", "stranger"))
    client = authority.issue("client")
    security = BrokerSecurity(ca_file=authority.ca_file, certificate=authority.issue("broker"), users={USER: PASSWORD})
    with KafkaBroker(security=security) as broker:
        create_topics(broker.bootstrap)
        # A new broker takes a second or more to hand out ids to idempotent producers.
        first = publisher_of(KafkaConfig(broker.bootstrap))
        first.publish(to("notification.sent", messages(1)))
        first.close()
        sasl = KafkaConfig(
            broker.secured_bootstrap("SASL_SSL"),
            security_protocol="SASL_SSL",
            tls_ca_file=str(authority.ca_file),
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=USER,
            sasl_password=PASSWORD,
        )
        tls = KafkaConfig(
            broker.secured_bootstrap("SSL"),
            security_protocol="SSL",
            tls_ca_file=str(authority.ca_file),
            tls_certificate_file=str(client.certificate_file),
            tls_key_file=str(client.key_file),
        )
        yield Secured(broker, sasl, tls, stranger)


Way = Callable[[Secured], KafkaConfig]

LET_IN: dict[str, Way] = {
    "SCRAM-SHA-512": lambda secured: secured.sasl,
    "PLAIN": lambda secured: replace(secured.sasl, sasl_mechanism="PLAIN"),
    "certificate": lambda secured: secured.tls,
}
REFUSED: dict[str, tuple[Way, str]] = {
    "wrong password": (lambda s: replace(s.sasl, sasl_password="wrong"), "invalid credentials"),
    "untrusted authority": (lambda s: replace(s.sasl, tls_ca_file=str(s.stranger.ca_file)), "certificate verify failed"),
    "another name": (
        lambda s: replace(s.sasl, bootstrap=s.sasl.bootstrap.replace("127.0.0.1", "localhost")),
        "certificate verify failed",
    ),
    "plain text": (lambda s: KafkaConfig(s.sasl.bootstrap), "does the listener want TLS"),
    "no certificate": (lambda s: replace(s.tls, tls_certificate_file="", tls_key_file=""), "bad certificate"),
}
let_in = pytest.mark.parametrize("way", LET_IN.values(), ids=LET_IN.keys())
refused = pytest.mark.parametrize(("way", "why"), REFUSED.values(), ids=REFUSED.keys())


@let_in
def test_producer_consumer_and_admin_are_let_in(secured: Secured, way: Way) -> None:
    config, topic = way(secured), secured.topic()
    publisher = publisher_of(config)
    publisher.publish(to(topic, messages(3)))
    subscription = KafkaSubscriber(config).subscribe([topic], topic)
    records = collect(subscription, 3)
    assert payloads(records) == [0, 1, 2]
    subscription.ack(records)
    subscription.close()
    publisher.close()
    topics = TopicIds(config)
    assert topics.of({topic})[topic][1] == 1
    assert topics.ends([(topic, 0)]) == {(topic, 0): 3}


@refused
def test_a_refused_publisher_and_subscriber_say_why(secured: Secured, way: Way, why: str) -> None:
    config = replace(way(secured), message_timeout_seconds=2.0)
    publisher = KafkaPublisher(config)
    begun = monotonic()
    with pytest.raises(TransientError, match=why):
        publisher.publish(to("t", messages(1)))
    assert monotonic() - begun < ENDS_WITHIN_SECONDS
    heard: list[tuple[bool, str]] = []
    subscription = KafkaSubscriber(config, on_health=lambda ok, reason: heard.append((ok, reason))).subscribe(["t"], "g")

    def told() -> bool:
        assert subscription.receive(10, 0.1) == ()
        return any(why in reason for _, reason in heard)

    eventually(told, 20, lambda: heard)
    assert {ok for ok, _ in heard} == {False}
    begun = monotonic()
    subscription.close()
    publisher.close()
    assert monotonic() - begun < ENDS_WITHIN_SECONDS


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[[KafkaConfig], tuple[Instance, Child]]]:
    """Give what starts a payment service that reaches Kafka so, and returns once it serves."""
    with Children() as children:

        def start(config: KafkaConfig) -> tuple[Instance, Child]:
            instance = Instance(
                service="payment",
                number=1,
                grpc_port=free_port(),
                metrics_port=free_port(),
                store_url=f"sqlite:///{tmp_path}/payment.db",
                folder=tmp_path,
            )
            spec = ChildSpec(
                name=instance.name,
                argv=[sys.executable, "-m", "payment_service"],
                log_path=instance.log_path,
                env=instance.environment(config),
            )
            child = children.start(spec)
            wait_until(
                lambda: is_serving(instance.address) or child.check(),
                what="payment serving",
                timeout_seconds=60,
                seen=lambda: log_tail(instance.log_path),
            )
            return instance, child

        yield start


def kafka_health(instance: Instance) -> tuple[bool, str]:
    """Return what the service's /health says of Kafka."""
    try:
        with urlopen(f"http://127.0.0.1:{instance.metrics_port}/health", timeout=5) as answer:
            body = answer.read()
    except HTTPError as unhealthy:
        body = unhealthy.read()
    part = json.loads(body)["parts"]["kafka"]
    return part["ok"], part["reason"]


@pytest.mark.parametrize("way", [LET_IN["SCRAM-SHA-512"], LET_IN["certificate"]], ids=["SCRAM-SHA-512", "certificate"])
def test_a_whole_service_is_let_in(secured: Secured, service: Callable[[KafkaConfig], tuple[Instance, Child]], way: Way) -> None:
    config, order_id = way(secured), str(uuid4())
    instance, child = service(config)
    body = ChargePaymentCommand(order_id=order_id, customer_id=str(uuid4()), amount=Money(currency="EUR", minor_units=100))
    command = Message(body.DESCRIPTOR.full_name, body.SerializeToString(), order_id, "/test")
    publisher = publisher_of(config)
    publisher.publish([Outgoing("payment.request", command)])
    publisher.close()
    subscription = KafkaSubscriber(config).subscribe(["payment.result"], str(uuid4()))

    def charged() -> bool:
        answers = [record for record in subscription.receive(100, 0.2) if record.key == order_id.encode()]
        return [PaymentChargedEvent.FromString(answer.value or b"").amount.minor_units for answer in answers] == [100]

    eventually(charged, 60, lambda: log_tail(instance.log_path))
    eventually(lambda: kafka_health(instance) == (True, ""), 20, lambda: kafka_health(instance))
    subscription.close()
    assert child.stop(timeout_seconds=ENDS_WITHIN_SECONDS) == 0


@refused
def test_a_refused_service_stays_up_and_its_health_says_why(
    secured: Secured, service: Callable[[KafkaConfig], tuple[Instance, Child]], way: Way, why: str
) -> None:
    instance, child = service(way(secured))
    eventually(lambda: why in kafka_health(instance)[1], 30, lambda: kafka_health(instance))
    assert not kafka_health(instance)[0]
    assert is_there(instance.address, "kafka") is False
    assert is_there(instance.address), "calls can still be answered"
    begun = monotonic()
    assert child.stop(sign=signal.SIGTERM, timeout_seconds=60) == 0
    assert monotonic() - begun < ENDS_WITHIN_SECONDS


def devkit(config: KafkaConfig, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run what `make up` and `make down` run, by somebody whose Kafka this is."""
    environment = {**os.environ, **kafka_environment(config), "MILLRACE_RUN_DIR": str(folder)}
    command = [sys.executable, "-m", "devkit.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("way", [LET_IN["SCRAM-SHA-512"], LET_IN["certificate"]], ids=["SCRAM-SHA-512", "certificate"])
def test_make_up_makes_its_topics_and_runs_the_shop_on_a_secured_kafka_that_is_given(
    secured: Secured, tmp_path: Path, way: Way
) -> None:
    admin, missing = AdminClient({"bootstrap.servers": secured.broker.bootstrap}), "notification.sent.dlt"
    admin.delete_topics([missing], operation_timeout=30)[missing].result()
    eventually(lambda: missing not in admin.list_topics(timeout=10).topics, 30)
    up = devkit(way(secured), tmp_path, "up", "--free-ports")
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert missing in admin.list_topics(timeout=10).topics
        addresses = dict(re.findall(r"^(\w+)-1 serves at (\S+)$", up.stdout, re.MULTILINE))
        with ShopConnection({service: [addresses[service]] for service in SERVICES}) as shop:
            wait_ready(shop)
            wait_settled(shop, [place(shop, HAPPY)])
    finally:
        down = devkit(way(secured), tmp_path, "down")
    assert down.returncode == 0, down.stdout + down.stderr


@refused
def test_topics_that_cannot_be_made_say_why(secured: Secured, way: Way, why: str) -> None:
    config = way(secured)
    with pytest.raises(Unavailable, match=why):
        create_topics(config.bootstrap, config.client_settings(), timeout_seconds=3)
