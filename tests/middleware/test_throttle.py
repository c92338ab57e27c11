"""A rate is kept, over all handlers together, without holding up a stop."""

from collections.abc import Iterator
from threading import Event
from time import monotonic

import pytest

from millrace.errors import Postponed
from millrace.handling import Delivery, current_delivery
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message, Record
from millrace.middleware import Throttle
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually

MESSAGE = Message(type="t", payload=b"")


class Waiting(Delivery):
    """Waits by moving a clock on."""

    def __init__(self) -> None:
        super().__init__("h", Record("t", 0, 0, None, b""))
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    made = Waiting()
    token = current_delivery.set(made)
    yield made
    current_delivery.reset(token)


def test_messages_go_at_their_rate_after_a_burst(waiting: Waiting) -> None:
    throttle = Throttle(4, burst=3, clock=lambda: waiting.now)
    went: list[float] = []
    handler = throttle(lambda message: went.append(waiting.now - 1000) or ())  # type: ignore[func-returns-value]
    for _ in range(6):
        handler(MESSAGE)
    assert went == [0, 0, 0, 0.25, 0.5, 0.75]
    waiting.now += 60
    for _ in range(4):
        handler(MESSAGE)
    assert went[6:] == [60.75, 60.75, 60.75, 61]


def test_all_handlers_share_the_rate(waiting: Waiting) -> None:
    throttle = Throttle(1, clock=lambda: waiting.now)
    one, other = (throttle(lambda message: ()) for _ in range(2))
    one(MESSAGE)
    other(MESSAGE)
    assert waiting.waits == [1]


@pytest.mark.parametrize(("per_second", "burst"), [(0, None), (-1, None), (5, 0)])
def test_a_rate_that_lets_nothing_through_is_refused(per_second: float, burst: int | None) -> None:
    with pytest.raises(ValueError, match="are none"):
        Throttle(per_second, burst=burst)


def test_a_long_wait_gives_the_message_back_and_a_stop_does_not_wait_for_it() -> None:
    broker = MemoryBroker(partitions=1)
    MemoryPublisher(broker).publish(to("in", messages(3)))
    router = Router(RouterSettings(poll_seconds=0.02), middleware=[Throttle(1 / 3600)])
    router.add_consumer_handler("h", Source(MemorySubscriber(broker), ["in"], "group"), lambda message: None)
    router.start()
    # Behind the patience of a second the first is acknowledged, while the second waits for an hour in its partition.
    eventually(lambda: broker.committed("group", ("in", 0)) == 1)
    asked_at = monotonic()
    router.close(5)
    assert monotonic() - asked_at < 2
    assert broker.committed("group", ("in", 0)) == 1


def test_an_interrupted_wait_says_what_is_left_of_it() -> None:
    interrupted = Event()
    interrupted.set()
    with pytest.raises(Postponed) as postponed:
        Delivery("h", Record("t", 0, 0, None, b""), interrupted).wait(60)
    assert 59 < postponed.value.seconds <= 60


def test_the_rate_holds_on_a_router() -> None:
    broker = MemoryBroker(partitions=2)
    MemoryPublisher(broker).publish(to("in", messages(40, keys=8)))
    handled: list[bytes] = []
    router = Router(RouterSettings(poll_seconds=0.02, patience_seconds=0.05), middleware=[Throttle(50, burst=1)])
    router.add_consumer_handler(
        "h", Source(MemorySubscriber(broker), ["in"], "group"), lambda message: handled.append(message.payload)
    )
    began = monotonic()
    router.start()
    eventually(lambda: len(handled) == 40, describe=lambda: handled)
    assert monotonic() - began >= 39 / 50
    router.close(5)
    assert sorted(map(int, handled)) == list(range(40))
