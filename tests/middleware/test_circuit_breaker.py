"""An open breaker pauses partitions: nothing is handled, nothing fails, and a probe ends it."""

from collections import Counter
from collections.abc import Sequence
from threading import Event, Thread

import pytest

from millrace.errors import PermanentError, Postponed, TransientError
from millrace.external.breaker import Breaker
from millrace.handling import Middleware
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message
from millrace.middleware import CircuitBreaker, DeadLetter, Retry
from millrace.pubsub import Outgoing
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually

MESSAGE = Message(type="t", payload=b"")


class Dependency:
    """What handlers call: away or there."""

    def __init__(self) -> None:
        self.away = True
        self.calls = 0

    def __call__(self, message: Message) -> Sequence[Outgoing]:
        self.calls += 1
        if self.away:
            raise TransientError("away")
        return ()


def test_the_failure_that_opens_it_and_all_behind_are_postponed_until_the_probe() -> None:
    dependency = Dependency()
    handler = CircuitBreaker(Breaker("part", failures=2, recovery_seconds=60))(dependency)
    with pytest.raises(TransientError):
        handler(MESSAGE)
    for _ in range(3):
        with pytest.raises(Postponed) as postponed:
            handler(MESSAGE)
        assert 59 < postponed.value.seconds <= 60
    assert dependency.calls == 2


def test_a_failed_probe_opens_it_again_and_a_good_one_closes_it() -> None:
    dependency = Dependency()
    breaker = Breaker("part", failures=1, recovery_seconds=0.05)
    handler = CircuitBreaker(breaker)(dependency)
    for calls in (1, 2):
        with pytest.raises(Postponed):
            handler(MESSAGE)
        assert dependency.calls == calls
        eventually(lambda: breaker.state() == "half_open")
    dependency.away = False
    handler(MESSAGE)
    assert breaker.state() == "closed"


def test_while_one_message_is_the_probe_others_wait_a_little() -> None:
    breaker = Breaker("part", failures=1, recovery_seconds=0.01)
    with pytest.raises(Postponed):
        CircuitBreaker(breaker)(Dependency())(MESSAGE)
    eventually(lambda: breaker.state() == "half_open")
    asked, answer = Event(), Event()

    def slow(message: Message) -> Sequence[Outgoing]:
        asked.set()
        assert answer.wait(5)
        return ()

    probe = Thread(target=CircuitBreaker(breaker)(slow), args=(MESSAGE,))
    probe.start()
    assert asked.wait(5)
    other = Dependency()
    with pytest.raises(Postponed) as postponed:
        CircuitBreaker(breaker)(other)(MESSAGE)
    answer.set()
    probe.join(5)
    assert (other.calls, postponed.value.seconds) == (0, 0.5)


def test_refusals_and_what_was_not_begun_say_nothing_about_the_part() -> None:
    breaker = Breaker("part", failures=2, recovery_seconds=60)

    def handle(error: Exception) -> None:
        def fail(message: Message) -> Sequence[Outgoing]:
            raise error

        with pytest.raises(type(error)):
            CircuitBreaker(breaker)(fail)(MESSAGE)

    for _ in range(3):
        handle(PermanentError("no"))
    assert breaker.state() == "closed"
    handle(TransientError("1"))
    handle(Postponed(1.0))
    with pytest.raises(Postponed):
        CircuitBreaker(breaker)(Dependency())(MESSAGE)
    assert breaker.state() == "open", "the postponed one between them was no success"


def test_an_outage_costs_neither_attempts_nor_dead_letters_and_then_all_is_handled_once() -> None:
    broker = MemoryBroker(partitions=3)
    publisher = MemoryPublisher(broker)
    dependency = Dependency()
    handled: Counter[int] = Counter()

    def handle(message: Message) -> None:
        dependency(message)
        handled[int(message.payload)] += 1

    publisher.publish(to("in", messages(60, keys=12)))
    breaker = Breaker("part", failures=2, recovery_seconds=0.1)
    middleware: list[Middleware] = [DeadLetter(publisher), Retry(attempts=4, first_seconds=0.001), CircuitBreaker(breaker)]
    router = Router(RouterSettings(poll_seconds=0.02), middleware=middleware)
    router.add_consumer_handler("h", Source(MemorySubscriber(broker), ["in"], "group"), handle)
    router.start()
    eventually(lambda: dependency.calls >= 4)  # two failures, and two probes
    assert not handled
    dependency.away = False
    eventually(lambda: len(handled) == 60, describe=lambda: handled)
    router.close(5)
    assert set(handled.values()) == {1}
    assert not broker.records("in.dlt")
