"""A message above the size limit, from PlaceOrder through the outbox to the publisher: it holds up nobody else, and is not lost."""

import secrets
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import grpc
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from devkit.kafka import KafkaBroker
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.services import Instance, is_serving
from devkit.waiting import wait_until
from devkit.workspace import free_port
from millrace.envelope import encode_headers
from millrace.kafka import KafkaConfig
from millrace.kafka.whole import read_whole
from millrace.message import Message
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1.order_service_pb2 import GetOrderRequest, OrderLine, PlaceOrderRequest
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.topics import create_topics

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
PRICE = Money(currency="EUR", minor_units=100)
ITEMS = [f"item-{secrets.token_hex(60)}" for _ in range(50)]
LIMIT_BYTES = 2_000


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        service="order",
        number=1,
        grpc_port=free_port(),
        metrics_port=free_port(),
        store_url=f"sqlite:///{tmp_path}/order.db",
        folder=tmp_path,
    )


def start(children: Children, instance: Instance, bootstrap: str) -> Child:
    argv = [sys.executable, "-m", "order_service"]
    spec = ChildSpec(name="order", argv=argv, log_path=instance.log_path, env=instance.environment(KafkaConfig(bootstrap)))
    child = children.start(spec)
    wait_until(
        lambda: is_serving(instance.address) or child.check(),
        what="order serving",
        timeout_seconds=60,
        seen=lambda: log_tail(instance.log_path),
    )
    return child


def tell_of_items(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for item in ITEMS:
        body = ItemChangedEvent(item_id=item, name=item, price=PRICE, active=True, sequence=1)
        message = Message(type=body.DESCRIPTOR.full_name, payload=body.SerializeToString(), key=item, source="/test")
        producer.produce("item.changed", message.payload, item, headers=list(encode_headers(message)))
    assert producer.flush(60) == 0


def set_limit(bootstrap: str, topic: str, max_bytes: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(max_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def request(lines: int) -> PlaceOrderRequest:
    wanted = [OrderLine(item_id=item, quantity=1, price=PRICE) for item in ITEMS[:lines]]
    return PlaceOrderRequest(customer_id=CUSTOMER, idempotency_key=str(uuid4()), items=wanted)


def told(bootstrap: str, topic: str) -> Mapping[str, int]:
    """Return how often each order is on a topic, copies of one message once."""
    found = {dict(record.headers)["ce_id"]: record.key or b"" for record, _ in read_whole(KafkaConfig(bootstrap), topic)}
    return Counter(key.decode() for key in found.values())


def refused_messages(instance: Instance) -> float:
    with urlopen(instance.metrics_url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("millrace_outbox_refused_messages{"))


def test_an_order_whose_message_is_too_large_holds_up_no_other_and_is_told_once_it_may(
    private_kafka: KafkaBroker, instance: Instance
) -> None:
    bootstrap = private_kafka.bootstrap
    create_topics(bootstrap)
    set_limit(bootstrap, "order.created", LIMIT_BYTES)
    tell_of_items(bootstrap)
    with Children() as children, closing(grpc.insecure_channel(instance.address)) as channel:
        child = start(children, instance, bootstrap)
        order = OrderServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            order.PlaceOrder(PlaceOrderRequest(customer_id=CUSTOMER, idempotency_key="x" * 5_000_000), timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        placed = [order.PlaceOrder(request(50 if number == 5 else 1), timeout=30).order_id for number in range(20)]
        large, small = placed[5], {order_id: 1 for order_id in placed if order_id != placed[5]}
        eventually(lambda: told(bootstrap, "order.created") == small, 60, lambda: told(bootstrap, "order.created"))
        eventually(lambda: refused_messages(instance) == 1, 60, lambda: refused_messages(instance))
        everyone = dict.fromkeys(placed, 1)
        eventually(lambda: told(bootstrap, "payment.request") == everyone, 60, lambda: told(bootstrap, "payment.request"))
        assert order.GetOrder(GetOrderRequest(order_id=large), timeout=30).order.order_id == large
        set_limit(bootstrap, "order.created", 1_048_588)
        assert child.stop(sign=signal.SIGTERM) == 0  # its successor tries what was refused at once, not within a minute
        start(children, instance, bootstrap)
        eventually(lambda: told(bootstrap, "order.created") == everyone, 60, lambda: told(bootstrap, "order.created"))
        assert refused_messages(instance) == 0
