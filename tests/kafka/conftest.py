"""What a broker knows of consumer groups, for tests to ask."""

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient


class Groups:
    """Asks the broker. A broker that cannot say yet raises AssertionError, which `eventually` takes for not yet true."""

    def __init__(self, bootstrap: str) -> None:
        self._settings: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap}
        self._admin = AdminClient(self._settings)

    def members(self, group: str) -> set[str]:
        """Return the ids of a group's members."""
        (described,) = self._admin.describe_consumer_groups([group]).values()
        try:
            return {member.member_id for member in described.result(10).members}
        except KafkaException as not_yet:
            raise AssertionError(str(not_yet)) from not_yet

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the committed offset of each partition that has one.

        A consumer that joins nothing is asked: list_consumer_group_offsets of librdkafka 2.16 ends the process with a segmentation
        fault where the answer is that the coordinator is not ready.
        """
        partitions = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        consumer = Consumer(self._settings | {"group.id": group})
        try:
            answers = consumer.committed([TopicPartition(topic, partition) for partition in partitions], timeout=10)
        except KafkaException as not_yet:
            raise AssertionError(str(not_yet)) from not_yet
        finally:
            consumer.close()
        return {answer.partition: answer.offset for answer in answers if answer.offset >= 0}


@pytest.fixture
def groups(kafka: str) -> Groups:
    return Groups(kafka)
