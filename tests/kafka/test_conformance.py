"""Publisher and Subscriber over a real Kafka keep the promises of every broker."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.testing.pubsub import PubSub, PubSubConformance, RestartConformance


class TestKafka(PubSubConformance):
    @pytest.fixture
    def pubsub(self, kafka: str) -> Iterator[PubSub]:
        config = KafkaConfig(kafka)
        publisher = KafkaPublisher(config)
        yield PubSub(publisher, KafkaSubscriber(config))
        publisher.close()

    @pytest.fixture
    def new_topic(self, kafka_topic: Callable[..., str]) -> Callable[..., str]:
        return kafka_topic


class TestRestartedKafka(RestartConformance):
    @pytest.fixture
    def pubsub(self, private_kafka: KafkaBroker) -> Iterator[PubSub]:
        config = KafkaConfig(private_kafka.bootstrap)
        publisher = KafkaPublisher(config)
        yield PubSub(publisher, KafkaSubscriber(config))
        publisher.close()

    @pytest.fixture
    def new_topic(self, private_kafka: KafkaBroker) -> Callable[..., str]:
        def make(*, partitions: int = 1) -> str:
            admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
            for future in admin.create_topics([NewTopic("restarted", partitions)], operation_timeout=30).values():
                future.result()
            return "restarted"

        return make

    @pytest.fixture
    def restart(self, private_kafka: KafkaBroker) -> Callable[[], None]:
        return private_kafka.restart
