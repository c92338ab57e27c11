"""The broker in memory keeps the promises of every broker."""

from collections.abc import Callable
from itertools import count

import pytest

from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.testing.pubsub import PubSub, PubSubConformance, RestartConformance, collect, messages, payloads, to


class TestMemory(PubSubConformance, RestartConformance):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()

    @pytest.fixture
    def pubsub(self, broker: MemoryBroker) -> PubSub:
        return PubSub(MemoryPublisher(broker), MemorySubscriber(broker))

    @pytest.fixture
    def new_topic(self, broker: MemoryBroker) -> Callable[..., str]:
        numbers = count()

        def make(*, partitions: int = 1) -> str:
            name = f"test.{next(numbers)}"
            broker.create_topic(name, partitions)
            return name

        return make

    @pytest.fixture
    def restart(self, broker: MemoryBroker) -> Callable[[], None]:
        return broker.restart

    def test_after_a_restart_what_was_not_acknowledged_comes_again(self, broker: MemoryBroker, pubsub: PubSub) -> None:
        pubsub.publisher.publish(to("t", messages(10)))
        subscription = pubsub.subscriber.subscribe(["t"], "g")
        held = collect(subscription, 10, ack=False)
        subscription.ack(held[:4])
        broker.restart()
        subscription.ack(held[4:])  # of before the restart: strangers now
        assert payloads(collect(subscription, 6)) == list(range(4, 10))
