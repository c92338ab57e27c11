"""Publisher and Subscriber over Kafka, by confluent-kafka (librdkafka). Nothing outside this package names its classes."""

from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer, new_producer
from millrace.kafka.publisher import KafkaPublisher
from millrace.kafka.subscriber import KafkaSubscriber, KafkaSubscription
from millrace.kafka.transactional import KafkaTransactionalSubscriber, KafkaTransactionalSubscription

__all__ = [
    "KafkaConfig",
    "KafkaProducer",
    "KafkaPublisher",
    "KafkaSubscriber",
    "KafkaSubscription",
    "KafkaTransactionalSubscriber",
    "KafkaTransactionalSubscription",
    "new_producer",
]
