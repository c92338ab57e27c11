"""Publisher and Subscriber over a real Kafka keep the promises of every broker."""

from collections.abc import Callable, Iterator

import pytest

from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.testing.pubsub import PubSub, PubSubConformance


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
