"""What the Router does while a handler takes its time."""

import sys
from collections.abc import Callable, Iterator, Sequence
from threading import Event, current_thread

import pytest

from millrace.errors import MillraceError
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message, Record
from millrace.pubsub import Subscription
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually

IMPATIENT = RouterSettings(poll_seconds=0.02, patience_seconds=0.05)


class Watched:
    """A subscriber and its one subscription, which notes what is called, and takes its partitions away when told to."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._below = MemorySubscriber(broker)
        self.sizes: list[int] = []
        self.kept_alive = 0
        self.threads: set[str] = set()
        self.revoke = Event()
        self.asked = Event()
        self.revoked = Event()
        self._finish: Callable[[float], None] = lambda seconds: None

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        self._subscription = self._below.subscribe(topics, group)
        return self

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        self.sizes.append(max_records)
        self.threads.add(current_thread().name)
        return self._subscription.receive(max_records, timeout_seconds)

    def ack(self, records: Sequence[Record]) -> None:
        self._subscription.ack(records)

    def nack(self, records: Sequence[Record], *, delay_seconds: float = 0.0) -> None:
        self._subscription.nack(records, delay_seconds=delay_seconds)

    def keep_alive(self) -> None:
        self.kept_alive += 1
        self.threads.add(current_thread().name)
        if self.revoke.is_set() and not self.revoked.is_set():
            self.asked.set()
            self._finish(5.0)
            self._subscription.close()
            self.revoked.set()

    def before_revoke(self, finish: Callable[[float], None]) -> None:
        self._finish = finish

    def close(self) -> None:
        self._subscription.close()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(partitions=1)


@pytest.fixture
def watched(broker: MemoryBroker) -> Watched:
    return Watched(broker)


@pytest.fixture
def router() -> Iterator[Router]:
    made = Router(IMPATIENT)
    yield made
    made.close(5)


def test_while_a_message_takes_its_time_the_member_is_kept_alive_and_nothing_comes_twice(
    broker: MemoryBroker, watched: Watched, router: Router
) -> None:
    go_on = Event()
    handled: list[int] = []

    def handle(message: Message) -> None:
        if message.payload == b"3":
            assert go_on.wait(10)
        handled.append(int(message.payload))

    MemoryPublisher(broker).publish(to("in", messages(10)))
    router.add_consumer_handler("slow", Source(watched, ["in"], "group"), handle)
    router.start()
    eventually(lambda: watched.kept_alive >= 3)
    go_on.set()
    eventually(lambda: broker.committed("group", ("in", 0)) == 10, describe=lambda: handled)
    assert handled == list(range(10))
    assert len(watched.threads) == 1, "one thread alone may call a subscription"


def test_a_slow_batch_is_acknowledged_in_parts(broker: MemoryBroker, watched: Watched, router: Router) -> None:
    asked = Event()

    def handle(message: Message) -> None:
        if message.payload == b"3":
            eventually(lambda: watched.kept_alive)
        if message.payload == b"4":
            asked.wait(10)

    MemoryPublisher(broker).publish(to("in", messages(10)))
    router.add_consumer_handler("slow", Source(watched, ["in"], "group"), handle)
    router.start()
    eventually(lambda: broker.committed("group", ("in", 0)) == 4, describe=lambda: broker.committed("group", ("in", 0)))
    asked.set()


def test_a_message_in_hand_is_finished_before_its_partition_moves(broker: MemoryBroker, watched: Watched, router: Router) -> None:
    in_hand, handled = Event(), list[int]()

    def handle(message: Message) -> None:
        if message.payload == b"0":
            in_hand.set()
            assert watched.asked.wait(5)
        handled.append(int(message.payload))

    MemoryPublisher(broker).publish(to("in", messages(10)))
    router.add_consumer_handler("slow", Source(watched, ["in"], "group"), handle)
    router.start()
    assert in_hand.wait(5)
    watched.revoke.set()
    assert watched.revoked.wait(5)
    assert (handled, broker.committed("group", ("in", 0))) == ([0], 1)


def test_batches_follow_the_speed_of_the_handler(broker: MemoryBroker, watched: Watched, router: Router) -> None:
    slow = Event()
    slow.set()
    handled: list[bytes] = []

    def handle(message: Message) -> None:
        if slow.is_set():
            Event().wait(0.01)
        handled.append(message.payload)

    publisher = MemoryPublisher(broker)
    publisher.publish(to("in", messages(100)))
    router.add_consumer_handler("slow", Source(watched, ["in"], "group"), handle)
    router.start()
    eventually(lambda: min(watched.sizes, default=500) <= 5, describe=lambda: watched.sizes)
    slow.clear()
    eventually(lambda: len(handled) == 100)
    publisher.publish(to("in", messages(500)))
    eventually(lambda: watched.sizes[-1] == 500, describe=lambda: watched.sizes)


def test_a_handler_that_ends_its_thread_ends_with_that_as_its_fault(broker: MemoryBroker, watched: Watched) -> None:
    router = Router(IMPATIENT)
    MemoryPublisher(broker).publish(to("in", messages(1)))
    router.add_consumer_handler("exits", Source(watched, ["in"], "group"), lambda message: sys.exit(3))
    router.start()
    with pytest.raises(MillraceError, match=r"exits ended its thread: SystemExit\(3\)"):
        router.wait(5)
