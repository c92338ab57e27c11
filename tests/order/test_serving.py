"""The real process on a real broker is not in service before its catalogue has been read, and says what it waits for."""

import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from confluent_kafka import Producer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from devkit.kafka import KafkaBroker
from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.services import Instance, is_serving
from devkit.waiting import wait_until
from devkit.workspace import free_port
from millrace.envelope import encode_headers
from millrace.kafka.config import KafkaConfig
from millrace.message import Message
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1.order_service_pb2 import OrderLine, PlaceOrderRequest
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.topics import create_topics

SERVICE = "shop.order.v1.OrderService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
PRICE = Money(currency="EUR", minor_units=899)
ORDER = PlaceOrderRequest(
    customer_id="6f3f0d52-4c7e-4f8e-9d53-0000000000c1",
    idempotency_key="key",
    items=[OrderLine(item_id="mug", quantity=1, price=PRICE)],
)


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


def _start(children: Children, instance: Instance, bootstrap: str) -> Child:
    argv = [sys.executable, "-m", "order_service"]
    return children.start(
        ChildSpec(name=instance.name, argv=argv, log_path=instance.log_path, env=instance.environment(KafkaConfig(bootstrap)))
    )


def _until(instance: Instance, child: Child, name: str, wanted: object) -> None:
    """Return once health says so of a service or dependency."""

    def said() -> object:
        child.check()
        with grpc.insecure_channel(instance.address) as channel:
            stub: Any = HealthStub(channel)
            try:
                return stub.Check(HealthCheckRequest(service=name), timeout=5).status
            except grpc.RpcError as error:
                return error.code()

    wait_until(
        lambda: said() == wanted,
        what=f"{name!r} at {wanted}",
        timeout_seconds=60,
        seen=lambda: f"{said()}\n{log_tail(instance.log_path)}",
    )


def _tell_of_the_mug(bootstrap: str) -> None:
    body = ItemChangedEvent(item_id="mug", name="Mug", price=PRICE, active=True, sequence=1)
    message = Message(type=body.DESCRIPTOR.full_name, payload=body.SerializeToString(), key="mug", source="/test")
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    producer.produce("item.changed", message.payload, "mug", headers=list(encode_headers(message)))
    assert producer.flush(30) == 0


def test_orders_are_served_once_the_catalogue_has_been_read(private_kafka: KafkaBroker, instance: Instance) -> None:
    create_topics(private_kafka.bootstrap)
    with Children() as children, grpc.insecure_channel(instance.address) as channel:
        child = _start(children, instance, private_kafka.bootstrap)
        for dependency in ("database", "kafka"):
            _until(instance, child, dependency, SERVING)
        for name in ("catalogue", SERVICE, ""):
            _until(instance, child, name, NOT_SERVING)
        _tell_of_the_mug(private_kafka.bootstrap)
        _until(instance, child, SERVICE, SERVING)
        assert OrderServiceStub(channel).PlaceOrder(ORDER, timeout=20).order_id
        assert child.stop(sign=signal.SIGTERM) == 0
        again = _start(children, instance, "127.0.0.1:1")
        wait_until(lambda: is_serving(instance.address) or again.check(), what="a known catalogue", timeout_seconds=60)
        _until(instance, again, "kafka", NOT_SERVING)
        assert again.stop(sign=signal.SIGTERM) == 0
