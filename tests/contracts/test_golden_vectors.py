"""The golden vectors against our code, and against librdkafka's producer and consumer over its own mock cluster."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message, Producer
from google.protobuf.json_format import MessageToDict

from millrace.cqrs.registry import TypeRegistry
from millrace.envelope import decode, encode_headers
from millrace.message import Record
from millrace.partitioner import murmur2, partition_for
from shop.inventory.v1 import inventory_messages_pb2
from shop.notification.v1 import notification_messages_pb2
from shop.order.v1 import order_messages_pb2
from shop.payment.v1 import payment_messages_pb2
from shop.shipping.v1 import shipping_messages_pb2

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "proto" / "testdata"
REGISTRY = TypeRegistry.from_modules(
    order_messages_pb2, payment_messages_pb2, inventory_messages_pb2, shipping_messages_pb2, notification_messages_pb2
)
MESSAGES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("shop.*.json"))}
KEYS = json.loads((FOLDER / "partitioner.json").read_text())


def as_record(vector: dict[str, Any], partition: int = 0) -> Record:
    """Return a vector as a broker would deliver it."""
    headers = tuple((name, value.encode()) for name, value in vector["headers"])
    return Record(vector["topic"], partition, 0, vector["key"].encode(), bytes.fromhex(vector["payload_hex"]), headers)


def from_broker(delivered: Message) -> Record:
    """Return what a consumer got, byte for byte."""
    key, value, headers = delivered.key(), delivered.value(), delivered.headers()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    assert isinstance(headers, list)
    values = tuple((name, content) for name, content in headers if not isinstance(content, str))
    assert len(values) == len(headers)
    return Record(str(delivered.topic()), int(delivered.partition() or 0), 0, key, value, values)


def test_every_type_that_has_a_topic_has_a_vector() -> None:
    assert set(MESSAGES) == {body_type.DESCRIPTOR.full_name for body_type in REGISTRY}


def test_the_files_are_what_the_tool_writes() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools/golden_vectors.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("vector", MESSAGES.values(), ids=list(MESSAGES))
def test_a_vector_decodes_to_its_fields_and_encodes_to_its_bytes(vector: dict[str, Any]) -> None:
    message = decode(as_record(vector))
    body = REGISTRY.decode(message)
    assert MessageToDict(body, preserving_proto_field_name=True) == vector["payload_as_json"]
    assert body.SerializeToString(deterministic=True).hex() == vector["payload_hex"]
    assert [[name, value.decode()] for name, value in encode_headers(message)] == vector["headers"]
    assert REGISTRY.topic(type(body)) == vector["topic"]
    assert REGISTRY.key(body) == vector["key"]


@pytest.mark.parametrize("vector", MESSAGES.values(), ids=list(MESSAGES))
def test_a_vector_goes_to_its_partition_of_3_of_12_and_of_50(vector: dict[str, Any]) -> None:
    found = {count: partition_for(vector["key"].encode(), int(count)) for count in vector["partition_of"]}
    assert found == vector["partition_of"]
    assert list(found) == ["3", "12", "50"]


@pytest.mark.parametrize("vector", KEYS, ids=[vector["key_hex"][:20] or "empty" for vector in KEYS])
def test_a_key_has_its_hash_and_its_partitions(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["key_hex"])
    assert murmur2(key) == vector["murmur2"]
    assert {count: partition_for(key, int(count)) for count in vector["partition_of"]} == vector["partition_of"]


@pytest.fixture(scope="module")
def producer() -> Iterator[Producer]:
    """A producer with the settings the library publishes by, on librdkafka's mock cluster of one broker."""
    mocked = {"test.mock.num.brokers": 1, "partitioner": "murmur2_random", "acks": "all", "enable.idempotence": True}
    producer = Producer(mocked)
    yield producer
    producer.flush(10)


def sent(producer: Producer, vector: dict[str, Any]) -> Message:
    """Send a vector and return the delivered message, as its delivery report shows it."""
    reports: list[Message] = []
    record = as_record(vector)

    def report(error: object, message: Message) -> None:
        assert error is None, error
        reports.append(message)

    producer.produce(record.topic, record.value, record.key, headers=list(record.headers), on_delivery=report)
    assert producer.flush(20) == 0
    return reports[0]


@pytest.mark.parametrize("vector", MESSAGES.values(), ids=list(MESSAGES))
def test_the_real_producer_sends_a_vector_where_we_say(producer: Producer, vector: dict[str, Any]) -> None:
    delivered = sent(producer, vector)
    partitions = len(producer.list_topics(vector["topic"], timeout=10).topics[vector["topic"]].partitions)
    assert partitions > 1
    assert delivered.partition() == partition_for(vector["key"].encode(), partitions)


def test_a_vector_comes_back_from_a_broker_byte_for_byte(producer: Producer) -> None:
    vector = MESSAGES["shop.order.v1.OrderCancelledEvent"]
    sent(producer, vector)
    brokers = producer.list_topics(timeout=10).brokers.values()
    address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    consumer = Consumer({"bootstrap.servers": address, "group.id": str(uuid4()), "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([vector["topic"]])
        delivered = consumer.poll(30)
        assert delivered is not None, f"nothing on {vector['topic']} at {address} in 30 s"
        assert delivered.error() is None
        got = from_broker(delivered)
        assert got == as_record(vector, got.partition)
    finally:
        consumer.close()
