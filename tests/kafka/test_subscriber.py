"""What the conformance suite cannot see: commits, health, and a broker that goes away."""

from collections.abc import Callable
from time import monotonic
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.testing.pubsub import collect, messages, payloads, to
from millrace.testing.waiting import eventually


def committed(bootstrap: str, group: str, topic: str, partition: int = 0) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    (answer,) = consumer.committed([TopicPartition(topic, partition)], timeout=10)
    consumer.close()
    assert answer.error is None
    offset: int = answer.offset
    return offset


def test_the_commit_stays_before_the_first_record_that_is_not_done(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic, group = kafka_topic(), uuid4().hex
    publisher = KafkaPublisher(KafkaConfig(kafka))
    publisher.publish(to(topic, messages(10)))
    subscription = KafkaSubscriber(KafkaConfig(kafka)).subscribe([topic], group)
    records = collect(subscription, 10, ack=False)
    subscription.ack(records[:3])
    subscription.ack(records[4:])
    eventually(lambda: committed(kafka, group, topic) == 3, describe=lambda: committed(kafka, group, topic))
    subscription.ack([records[3]])
    eventually(lambda: committed(kafka, group, topic) == 10, describe=lambda: committed(kafka, group, topic))
    subscription.close()
    publisher.close()


def test_a_second_member_takes_partitions_over_where_the_first_stands(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic, group = kafka_topic(partitions=2), uuid4().hex
    publisher = KafkaPublisher(KafkaConfig(kafka))
    publisher.publish(to(topic, messages(100, keys=16)))
    subscriber = KafkaSubscriber(KafkaConfig(kafka))
    first = subscriber.subscribe([topic], group)
    held = collect(first, 100, ack=False)
    done = [record for record in held if record.offset < 10]
    first.ack(done)
    second = subscriber.subscribe([topic], group)
    taken: list[int] = []

    def moved() -> bool:
        first.receive(500, 0.05)
        records = second.receive(500, 0.05)
        taken.extend(record.partition for record in records)
        if records:
            assert min(record.offset for record in records) == 10, "it starts where the first was done"
        return bool(records)

    eventually(moved, 30)
    (partition,) = set(taken)
    stale = [record for record in held if record.partition == partition]
    first.ack(stale)  # no longer its own: nothing is committed
    first.close()
    second.close()
    assert committed(kafka, group, topic, partition) == 10
    publisher.close()


def test_health_follows_the_broker_and_reading_goes_on(private_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1)], operation_timeout=30).values():
        future.result()
    heard: list[tuple[bool, str]] = []
    config = KafkaConfig(private_kafka.bootstrap)
    publisher = KafkaPublisher(config)
    publisher.publish(to("t", messages(5)))
    subscription = KafkaSubscriber(config, on_health=lambda ok, reason: heard.append((ok, reason))).subscribe(["t"], "g")
    subscription.ack(collect(subscription, 5))

    def unhealthy() -> bool:
        subscription.receive(10, 0.1)
        return bool(heard) and not heard[-1][0]

    def healthy() -> bool:
        subscription.receive(10, 0.1)
        return bool(heard) and heard[-1][0]

    private_kafka.kill()
    eventually(unhealthy, 30, lambda: heard)
    private_kafka.start()
    eventually(healthy, 30, lambda: heard)  # without any record: an idle topic must not stay unhealthy
    publisher.publish(to("t", messages(3)))
    assert payloads(collect(subscription, 3)) == [0, 1, 2]
    private_kafka.kill()
    eventually(unhealthy, 30, lambda: heard)
    started = monotonic()
    subscription.close()
    assert monotonic() - started < 8, "leaving does not wait for a broker that is away"
    publisher.close()
