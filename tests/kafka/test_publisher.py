"""What the Kafka publisher raises, and when it returns."""

import secrets
from collections.abc import Callable
from time import monotonic

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from millrace.errors import PermanentError, PublishTimeout, TransientError, Unavailable
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.partitioner import partition_for
from millrace.pubsub import RawOutgoing
from millrace.testing.pubsub import collect, messages, to
from millrace.testing.waiting import eventually


def test_a_message_too_large_for_the_client_is_refused_for_good(kafka: str, kafka_topic: Callable[..., str]) -> None:
    publisher = KafkaPublisher(KafkaConfig(kafka))
    with pytest.raises(PermanentError, match="MSG_SIZE_TOO_LARGE"):
        publisher.publish([RawOutgoing(kafka_topic(), b"k", b"x" * 3_000_000, ())])
    publisher.close()


def test_a_message_too_large_for_the_topic_is_refused_for_good(kafka: str, kafka_topic: Callable[..., str]) -> None:
    publisher = KafkaPublisher(KafkaConfig(kafka))
    topic = kafka_topic(max_message_bytes="1000")
    with pytest.raises(PermanentError, match="MSG_SIZE_TOO_LARGE"):
        publisher.publish([RawOutgoing(topic, b"k", secrets.token_bytes(5000), ())])
    publisher.publish(to(topic, messages(1)))
    publisher.close()


def test_messages_refused_together_arrive_one_by_one_in_the_order_of_their_key(
    kafka: str, kafka_topic: Callable[..., str]
) -> None:
    publisher = KafkaPublisher(KafkaConfig(kafka))
    topic = kafka_topic(max_message_bytes="1000")
    publisher.publish([RawOutgoing(topic, b"k%d" % (n % 3), secrets.token_bytes(400) + b"%d" % n, ()) for n in range(30)])
    subscription = KafkaSubscriber(KafkaConfig(kafka)).subscribe([topic], topic)
    found = collect(subscription, 30)
    for key in range(3):
        assert [int((r.value or b"")[400:]) for r in found if r.key == b"k%d" % key] == list(range(key, 30, 3))
    subscription.close()
    publisher.close()


def test_a_message_too_large_for_the_topic_has_none_beside_it_refused(kafka: str, kafka_topic: Callable[..., str]) -> None:
    publisher = KafkaPublisher(KafkaConfig(kafka))
    topic = kafka_topic(max_message_bytes="1000")
    batch = [RawOutgoing(topic, b"k%d" % n, secrets.token_bytes(5000 if n in (4, 5) else 100), ()) for n in range(20)]
    with pytest.raises(PermanentError, match="MSG_SIZE_TOO_LARGE"):
        publisher.publish(batch)
    subscription = KafkaSubscriber(KafkaConfig(kafka)).subscribe([topic], topic)
    assert {record.key for record in collect(subscription, 18)} == {b"k%d" % n for n in range(20) if n not in (4, 5)}
    subscription.close()
    publisher.close()


def test_keys_go_where_java_sends_them(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic(partitions=12)
    publisher = KafkaPublisher(KafkaConfig(kafka))
    publisher.publish(to(topic, messages(50, keys=50)))
    subscription = KafkaSubscriber(KafkaConfig(kafka)).subscribe([topic], topic)
    for record in collect(subscription, 50):
        assert record.partition == partition_for(record.key or b"", 12)
    subscription.close()
    publisher.close()


def test_after_a_fatal_error_it_says_unavailable_and_later_works_again(private_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1)], operation_timeout=30).values():
        future.result()
    publisher = KafkaPublisher(KafkaConfig(private_kafka.bootstrap, message_timeout_seconds=15.0), timeout_seconds=30.0)
    publisher.publish(to("t", messages(1)))
    private_kafka.checkpoint("t-0")
    publisher.publish(to("t", messages(1)))
    publisher.publish(to("t", messages(1)))
    private_kafka.roll_back("t-0")  # the broker goes on at a sequence number long past for the producer
    started = monotonic()
    with pytest.raises(Unavailable, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        publisher.publish(to("t", messages(5)))
    assert monotonic() - started < 15
    publisher.publish(to("t", messages(5)))
    subscription = KafkaSubscriber(KafkaConfig(private_kafka.bootstrap)).subscribe(["t"], "readers")
    assert len(collect(subscription, 6)) == 6
    subscription.close()
    publisher.close()


def test_with_the_broker_away_it_times_out_and_later_works_again(private_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1)], operation_timeout=30).values():
        future.result()
    publisher = KafkaPublisher(KafkaConfig(private_kafka.bootstrap, message_timeout_seconds=1.0), timeout_seconds=3.0)

    def works() -> bool:
        try:
            publisher.publish(to("t", messages(1)))
        except TransientError as away:
            raise AssertionError(str(away)) from away
        return True

    eventually(works, 30)  # a new broker takes a second to hand out ids to idempotent producers
    private_kafka.pause()
    started = monotonic()
    with pytest.raises(PublishTimeout):
        publisher.publish(to("t", messages(5)))
    assert monotonic() - started < 3.5
    private_kafka.resume()
    eventually(works, 30)
    publisher.close()
    publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        publisher.publish(to("t", messages(1)))
