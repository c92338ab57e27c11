"""A broker inside the process, with the promises of the real one: partitions by key, groups, rebalances, redelivery. For tests."""

from millrace.memory.broker import MemoryBroker
from millrace.memory.publisher import MemoryPublisher
from millrace.memory.subscriber import MemorySubscriber, MemorySubscription

__all__ = ["MemoryBroker", "MemoryPublisher", "MemorySubscriber", "MemorySubscription"]
