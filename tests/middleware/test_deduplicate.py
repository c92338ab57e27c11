"""Copies of a message are dropped, and nothing else is."""

from collections.abc import Sequence

import pytest

from millrace.errors import PublishTimeout, TransientError
from millrace.handling import Delivery, HandlerFunc, current_delivery
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message, Record
from millrace.middleware import Deduplicate
from millrace.pubsub import Outgoing, Sendable
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually


class Handling:
    """Gives messages to a handler as if they stood at these offsets."""

    def __init__(self, middleware: Deduplicate, *errors: Exception) -> None:
        self.handled: list[str] = []
        self._errors = list(errors)
        self._chain: HandlerFunc = middleware(self._handle)

    def at(self, offset: int, message_id: str) -> None:
        token = current_delivery.set(Delivery("h", Record("t", 0, offset, None, b"")))
        try:
            self._chain(Message(type="t", payload=b"always the same", id=message_id))
        finally:
            current_delivery.reset(token)

    def _handle(self, message: Message) -> Sequence[Outgoing]:
        if self._errors:
            raise self._errors.pop(0)
        self.handled.append(message.id)
        return ()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_copy_at_another_place_is_dropped_and_other_messages_are_not() -> None:
    handling = Handling(Deduplicate())
    handling.at(0, "a")
    handling.at(1, "b")
    handling.at(2, "a")
    assert handling.handled == ["a", "b"]


def test_a_failed_message_is_no_duplicate_when_it_comes_again_or_as_a_copy() -> None:
    handling = Handling(Deduplicate(), TransientError("1"), TransientError("2"))
    for _ in range(2):
        with pytest.raises(TransientError):
            handling.at(0, "a")
    handling.at(1, "a")
    assert handling.handled == ["a"]


def test_an_id_is_forgotten_after_the_window() -> None:
    clock = Clock()
    handling = Handling(Deduplicate(window_seconds=60, clock=clock))
    handling.at(0, "a")
    clock.now += 59
    handling.at(1, "a")
    clock.now += 1
    handling.at(2, "a")
    assert handling.handled == ["a", "a"]


def test_no_more_ids_are_kept_than_asked_for_and_those_are_the_latest() -> None:
    handling = Handling(Deduplicate(max_ids=2))
    for offset, message_id in enumerate(["a", "b", "c", "b", "c", "a"]):
        handling.at(offset, message_id)
    assert handling.handled == ["a", "b", "c", "a"]


def test_each_handler_remembers_for_itself() -> None:
    once = Deduplicate()
    one, other = Handling(once), Handling(once)
    one.at(0, "a")
    other.at(5, "a")
    assert (one.handled, other.handled) == (["a"], ["a"])


class TimesOutOnce(MemoryPublisher):
    """Refuses the first batch."""

    refused = False

    def publish(self, batch: Sequence[Sendable]) -> None:
        if not self.refused:
            self.refused = True
            raise PublishTimeout("no answer")
        super().publish(batch)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(partitions=2)


def test_outputs_that_could_not_be_published_are_not_lost_to_a_message_that_was_handled(broker: MemoryBroker) -> None:
    def echo(message: Message) -> Sequence[Outgoing]:
        return [Outgoing("out", Message(type="echo", payload=message.payload))]

    sent = messages(10, keys=4)
    MemoryPublisher(broker).publish(to("in", [*sent, *sent]))
    router = Router(RouterSettings(backoff_seconds=0.01), middleware=[Deduplicate()])
    router.add_handler("echo", Source(MemorySubscriber(broker), ["in"], "group"), echo, TimesOutOnce(broker))
    router.start()
    eventually(lambda: sum(broker.committed("group", ("in", p)) for p in (0, 1)) == 20)
    router.close(5)
    assert sorted(int(record.value or b"") for record in broker.records("out")) == list(range(10))
