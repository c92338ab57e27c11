"""What the pipeline asks of topics, across a broker that is killed and started again."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devkit.kafka import KafkaBroker
from millrace.kafka import KafkaConfig
from millrace.kafka.topics import TopicIds
from millrace.testing.waiting import eventually


def test_ends_are_told_again_once_the_broker_is_back(private_kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    for future in admin.create_topics([NewTopic("t", 1)], operation_timeout=30).values():
        future.result()
    topics = TopicIds(KafkaConfig(private_kafka.bootstrap))

    def ends() -> bool:
        try:
            return topics.ends([("t", 0)]) == {("t", 0): 0}
        except KafkaException as not_yet:
            raise AssertionError(str(not_yet)) from not_yet

    eventually(ends, 30)
    for _ in range(3):
        private_kafka.kill()
        private_kafka.start()
        eventually(ends, 60, every_seconds=0.5)
