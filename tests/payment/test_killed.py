"""The real process on a real broker, killed amid its work: every order is charged exactly once."""

import signal
import sqlite3
import sys
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from devkit.kafka import KafkaBroker
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.services import Instance, is_serving
from devkit.waiting import wait_until
from devkit.workspace import free_port
from millrace.envelope import encode_headers
from millrace.kafka import KafkaConfig
from millrace.message import Message
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand
from shop.types.v1.money_pb2 import Money
from shopkit.topics import create_topics

ORDERS = 200
KILLS = 3
CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        service="payment",
        number=1,
        grpc_port=free_port(),
        metrics_port=free_port(),
        store_url=f"sqlite:///{tmp_path}/payment.db",
        folder=tmp_path,
        extra={"PAYMENT_GATEWAY_DELAY_MS": "30"},
    )


def _start(children: Children, instance: Instance, bootstrap: str) -> Child:
    argv = [sys.executable, "-m", "payment_service"]
    spec = ChildSpec(name=instance.name, argv=argv, log_path=instance.log_path, env=instance.environment(KafkaConfig(bootstrap)))
    child = children.start(spec)
    wait_until(
        lambda: is_serving(instance.address) or child.check(),
        what="payment serving",
        timeout_seconds=60,
        seen=lambda: log_tail(instance.log_path),
    )
    return child


def _ask_for_money(bootstrap: str, orders: list[str]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for order_id in orders:
        body = ChargePaymentCommand(order_id=order_id, customer_id=CUSTOMER, amount=Money(currency="EUR", minor_units=100))
        message = Message(type=body.DESCRIPTOR.full_name, payload=body.SerializeToString(), key=order_id, source="/test")
        producer.produce("payment.request", message.payload, order_id.encode(), headers=list(encode_headers(message)))
    assert producer.flush(30) == 0


def _count(path: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        found: int = database.execute(query).fetchone()[0]
    return found


def test_a_service_killed_amid_its_work_charges_every_order_once(
    private_kafka: KafkaBroker, instance: Instance, tmp_path: Path
) -> None:
    bootstrap, database = private_kafka.bootstrap, tmp_path / "payment.db"
    create_topics(bootstrap)
    orders = [str(uuid.uuid4()) for _ in range(ORDERS)]
    with Children() as children:
        child = _start(children, instance, bootstrap)
        for kill in range(KILLS):
            _ask_for_money(bootstrap, orders[kill::KILLS])
            before = _count(database, "SELECT count(*) FROM external_ledger")
            wait_until(
                lambda before=before: _count(database, "SELECT count(*) FROM external_ledger") > before,  # type: ignore[misc]
                what="the gateway charging",
                timeout_seconds=60,
                interval_seconds=0.001,
                seen=lambda: log_tail(instance.log_path),
            )
            child.kill()
            child = _start(children, instance, bootstrap)
        answers = _answers(bootstrap, set(orders), instance)
        assert child.stop(sign=signal.SIGTERM) == 0
    assert answers == Counter(orders)
    charges = "FROM external_ledger WHERE kind = 'charge' AND outcome = 'done'"
    assert _count(database, f"SELECT count(*) {charges}") == ORDERS
    assert _count(database, f"SELECT count(DISTINCT order_id) {charges}") == ORDERS
    assert _count(database, "SELECT count(*) FROM payment WHERE status = 'charged' AND charged_minor = 100") == ORDERS
    assert _count(database, "SELECT count(*) FROM effect") == 0


def _answers(bootstrap: str, orders: set[str], instance: Instance) -> Counter[str]:
    """Return how many different answers each order got, once each has one; copies of one message count once."""
    seen: dict[str | bytes | None, str] = {}
    settings = {"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest"}
    with closing(Consumer(settings)) as consumer:
        consumer.subscribe(["payment.result"])

        def read() -> bool:
            message = consumer.poll(0.2)
            while message is not None and message.error() is None:
                headers = dict(message.headers() or ())
                assert headers["ce_type"] == b"shop.payment.v1.PaymentChargedEvent"
                seen[headers["ce_id"]] = _text(message.key())
                message = consumer.poll(0)
            return orders <= set(seen.values())

        wait_until(read, what="an answer for each order", timeout_seconds=120, seen=lambda: log_tail(instance.log_path))
    return Counter(seen.values())


def _text(key: str | bytes | None) -> str:
    assert isinstance(key, bytes)
    return key.decode()
