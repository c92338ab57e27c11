"""Two instances over one store agree: each reads what the other wrote, and neither sells at a price that is known to have changed."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from confluent_kafka import Producer
from google.protobuf.message import Message as Protobuf
from prometheus_client.parser import text_string_to_metric_families

from devkit.kafka import KafkaBroker
from devkit.processes import Children, ChildSpec
from devkit.services import Instance, is_serving
from devkit.workspace import free_port
from millrace.cqrs.routing import route_of
from millrace.envelope import encode_headers
from millrace.kafka import KafkaConfig
from millrace.message import Message
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1 import order_messages_pb2 as messages
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.payment.v1.payment_messages_pb2 import PaymentRefundedEvent
from shop.types.v1.money_pb2 import Money
from shopkit.topics import create_topics

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
WITHIN = 90


class Pair:
    """Two order services, whose caches keep what they have for a day unless they are told of a change."""

    def __init__(self, bootstrap: str, store_url: str, folder: Path) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
        self.instances = [
            Instance(
                service="order", number=number, grpc_port=free_port(), metrics_port=free_port(), store_url=store_url, folder=folder,
                extra={"ORDER_CACHE_SECONDS": "86400"},
            )
            for number in (1, 2)
        ]  # fmt: skip
        self._channels = [grpc.insecure_channel(instance.address) for instance in self.instances]
        self.stubs: list[Any] = [OrderServiceStub(channel) for channel in self._channels]
        self._numbers = iter(range(1_000_000))

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def tell(self, body: Protobuf) -> None:
        route = route_of(type(body))
        message = Message(route.type, body.SerializeToString(), route.key(body), "/test")
        self._producer.produce(route.topic, message.payload, message.key, headers=list(encode_headers(message)))
        assert self._producer.flush(30) == 0

    def sell(self, price: int, sequence: int) -> None:
        money = Money(currency="EUR", minor_units=price)
        self.tell(ItemChangedEvent(item_id="mug", name="Mug", price=money, active=True, sequence=sequence))

    def place(self, number: int, price: int) -> str:
        """Place an order through an instance; return its id, or the code that refused it."""
        line = wire.OrderLine(item_id="mug", quantity=1, price=Money(currency="EUR", minor_units=price))
        request = wire.PlaceOrderRequest(customer_id=CUSTOMER, idempotency_key=f"key {next(self._numbers)}", items=[line])
        try:
            order_id: str = self.stubs[number].PlaceOrder(request, timeout=30).order_id
        except grpc.RpcError as error:
            return str(error.code().name)
        return order_id

    def status(self, number: int, order_id: str) -> int:
        order: wire.Order = self.stubs[number].GetOrder(wire.GetOrderRequest(order_id=order_id), timeout=30).order
        return order.status

    def counted(self, number: int, name: str, **labels: str) -> float:
        with urlopen(self.instances[number].metrics_url, timeout=30) as page:
            families = text_string_to_metric_families(page.read().decode())
        return sum(
            s.value for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
        )


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as broker:
        create_topics(broker.bootstrap)
        yield broker


@pytest.fixture
def pair(broker: KafkaBroker, postgres_url: Callable[[], str], tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(broker.bootstrap, postgres_url(), tmp_path)
    pair.sell(899, 1)
    with Children() as children:
        started = [
            children.start(
                ChildSpec(
                    name=instance.name,
                    argv=[sys.executable, "-m", "order_service"],
                    log_path=instance.log_path,
                    env=instance.environment(KafkaConfig(broker.bootstrap)),
                )
            )
            for instance in pair.instances
        ]
        for instance in pair.instances:
            eventually(lambda instance=instance: is_serving(instance.address), WITHIN, describe=instance.log_path.read_text)  # type: ignore[misc]
        yield pair
        pair.close()
        for child in started:
            assert child.stop(sign=signal.SIGTERM) == 0


def test_both_instances_hear_of_a_new_price_though_only_one_handles_it(pair: Pair) -> None:
    for number in (0, 1):
        for _ in range(3):
            assert len(pair.place(number, 899)) == 36
        assert pair.counted(number, "millrace_cache_requests_total", cache="catalogue", outcome="hit") >= 1
    for sequence, price in ((2, 950), (3, 700)):
        pair.sell(price, sequence)
        for number in (0, 1):
            eventually(lambda number=number, price=price: len(pair.place(number, price)) == 36, WITHIN)  # type: ignore[misc]
            assert pair.place(number, 899) == "INVALID_ARGUMENT"
            assert pair.counted(number, "millrace_cache_changes_total", cache="catalogue") >= sequence - 1


def test_what_is_written_through_one_instance_is_read_through_the_other_at_once(pair: Pair) -> None:
    for number in (0, 1, 0, 1):
        other = 1 - number
        order_id = pair.place(number, 899)
        assert pair.status(other, order_id) == messages.ORDER_STATUS_PENDING
        pair.stubs[number].CancelOrder(wire.CancelOrderRequest(order_id=order_id), timeout=30)
        assert pair.status(other, order_id) == messages.ORDER_STATUS_CANCELLING
        pair.tell(PaymentRefundedEvent(order_id=order_id, amount=Money(currency="XXX")))
        eventually(lambda order_id=order_id: pair.status(0, order_id) == messages.ORDER_STATUS_CANCELLED, WITHIN)  # type: ignore[misc]
        assert pair.status(1, order_id) == messages.ORDER_STATUS_CANCELLED
        hits = pair.counted(0, "millrace_cache_requests_total", cache="orders", outcome="hit")
        assert pair.status(0, order_id) == messages.ORDER_STATUS_CANCELLED
        assert pair.counted(0, "millrace_cache_requests_total", cache="orders", outcome="hit") == hits + 1
