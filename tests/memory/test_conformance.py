"""The broker in memory keeps the promises of every broker."""

from collections.abc import Callable
from itertools import count

import pytest

from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.testing.pubsub import PubSub, PubSubConformance


class TestMemory(PubSubConformance):
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
