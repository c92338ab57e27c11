"""Several messages at once: of different keys, each key in its order, and a failing one holds its key alone."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event, Lock

import pytest

from millrace.errors import TransientError
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message
from millrace.pubsub import Outgoing
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import collect, member, messages, payloads, to
from millrace.testing.pubsub.kit import PubSub
from millrace.testing.waiting import eventually

QUICK = RouterSettings(poll_seconds=0.02, backoff_seconds=0.01, max_backoff_seconds=0.05, concurrency=4)


class Handled:
    """Notes what was handled, by key. Safe to use from several threads."""

    def __init__(self) -> None:
        self.by_key: dict[str | None, list[int]] = defaultdict(list)
        self._lock = Lock()

    def note(self, message: Message) -> None:
        with self._lock:
            self.by_key[message.key].append(int(message.payload))

    def all(self) -> list[int]:
        with self._lock:
            return sorted(number for numbers in self.by_key.values() for number in numbers)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(partitions=1)


@pytest.fixture
def router() -> Iterator[Router]:
    made = Router(QUICK)
    yield made
    made.close(5)


def source(broker: MemoryBroker) -> Source:
    return Source(MemorySubscriber(broker), ["in"], "group")


def committed(broker: MemoryBroker) -> int:
    return broker.committed("group", ("in", 0))


def test_keys_are_handled_at_once_and_each_in_its_order(broker: MemoryBroker, router: Router) -> None:
    handled, at_once = Handled(), Event()
    running: set[str | None] = set()

    def handle(message: Message) -> None:
        running.add(message.key)
        if len(running) > 1:
            at_once.set()
        assert at_once.wait(5), "one after the other"
        handled.note(message)
        running.remove(message.key)

    MemoryPublisher(broker).publish(to("in", messages(100, keys=19)))
    router.add_consumer_handler("h", source(broker), handle)
    router.start()
    eventually(lambda: committed(broker) == 100, describe=handled.all)
    assert handled.all() == list(range(100))
    assert all(numbers == sorted(numbers) for numbers in handled.by_key.values())


def test_a_failing_message_holds_its_key_alone_and_nothing_behind_it_is_handled_twice(
    broker: MemoryBroker, router: Router
) -> None:
    handled, healed = Handled(), Event()

    def handle(message: Message) -> None:
        if message.payload == b"7" and not healed.is_set():
            raise TransientError("not yet")
        handled.note(message)

    MemoryPublisher(broker).publish(to("in", messages(100, keys=10)))
    router.add_consumer_handler("h", source(broker), handle)
    router.start()
    others = [n for n in range(100) if n % 10 != 7]
    eventually(lambda: handled.all() == others, describe=handled.all)
    eventually(lambda: committed(broker) == 7, describe=lambda: committed(broker))
    healed.set()
    eventually(lambda: committed(broker) == 100, describe=handled.all)
    assert handled.all() == list(range(100))
    assert handled.by_key["key-7"] == list(range(7, 100, 10))


def test_records_without_a_key_wait_for_no_other(broker: MemoryBroker, router: Router) -> None:
    handled, healed = Handled(), Event()

    def handle(message: Message) -> None:
        if message.payload == b"0" and not healed.is_set():
            raise TransientError("not yet")
        handled.note(message)

    MemoryPublisher(broker).publish(to("in", [replace(message, key=None) for message in messages(20)]))
    router.add_consumer_handler("h", source(broker), handle)
    router.start()
    eventually(lambda: handled.all() == list(range(1, 20)), describe=handled.all)
    healed.set()
    eventually(lambda: committed(broker) == 20)


def test_what_is_done_behind_a_failing_message_is_not_committed_past_it(broker: MemoryBroker) -> None:
    handled = Handled()

    def handle(message: Message) -> None:
        if message.payload == b"3":
            raise TransientError("never")
        handled.note(message)

    publisher = MemoryPublisher(broker)
    publisher.publish(to("in", messages(20, keys=10)))
    router = Router(QUICK)
    router.add_consumer_handler("h", source(broker), handle)
    router.start()
    eventually(lambda: handled.all() == [n for n in range(20) if n % 10 != 3], describe=handled.all)
    router.close(5)
    with member(PubSub(publisher, MemorySubscriber(broker)), "in", "group") as subscription:
        assert payloads(collect(subscription, 17)) == list(range(3, 20))


def test_at_least_one_message_is_handled_at_once() -> None:
    with pytest.raises(ValueError, match="concurrency"):
        RouterSettings(concurrency=0)


def test_outputs_of_all_threads_are_published(broker: MemoryBroker, router: Router) -> None:
    def echo(message: Message) -> Sequence[Outgoing]:
        return [Outgoing("out", Message(type="echo", payload=message.payload))]

    publisher = MemoryPublisher(broker)
    publisher.publish(to("in", messages(1200, keys=50)))
    router.add_handler("echo", source(broker), echo, publisher)
    router.start()
    eventually(lambda: committed(broker) == 1200)
    assert sorted(int(record.value or b"") for record in broker.records("out")) == list(range(1200))
