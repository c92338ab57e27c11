"""The Router: what is acknowledged when, what a failure holds up, and how handlers start and stop."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event

import pytest

from millrace.errors import PermanentError, PublishTimeout, TransientError
from millrace.handling import HandlerFunc, current_delivery
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message
from millrace.pubsub import Outgoing, RawOutgoing, Sendable
from millrace.router import DuplicateHandler, Router, RouterSettings, Source
from millrace.testing.log_lines import log_lines
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually

log = logging.getLogger("handler")
QUICK = RouterSettings(poll_seconds=0.02, backoff_seconds=0.01, max_backoff_seconds=0.05)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(partitions=2)


@pytest.fixture
def publisher(broker: MemoryBroker) -> MemoryPublisher:
    return MemoryPublisher(broker)


@pytest.fixture
def router(publisher: MemoryPublisher) -> Iterator[Router]:
    made = Router(replace(QUICK, dead_letters=publisher))
    yield made
    made.close(5)


def source(broker: MemoryBroker, *topics: str, group: str = "group") -> Source:
    return Source(MemorySubscriber(broker), topics, group)


def echo(message: Message) -> Sequence[Outgoing]:
    return [Outgoing("out", Message(type="echo", payload=message.payload, key=message.key))]


def numbers(broker: MemoryBroker, topic: str) -> list[int]:
    return sorted(int(record.value or b"-1") for record in broker.records(topic))


def test_outputs_are_published_and_inputs_acknowledged(broker: MemoryBroker, publisher: MemoryPublisher, router: Router) -> None:
    router.add_handler("echo", source(broker, "in"), echo, publisher)
    router.start()
    publisher.publish(to("in", messages(100, keys=5)))
    eventually(lambda: numbers(broker, "out") == list(range(100)), describe=lambda: numbers(broker, "out"))
    eventually(lambda: sum(broker.committed("group", ("in", p)) for p in (0, 1)) == 100)


def test_a_name_is_used_once(broker: MemoryBroker, publisher: MemoryPublisher, router: Router) -> None:
    router.add_handler("echo", source(broker, "in"), echo, publisher)
    with pytest.raises(DuplicateHandler):
        router.add_handler("echo", source(broker, "other"), echo, publisher)


def test_middleware_wraps_the_first_outermost_and_the_routers_around_the_handlers(
    broker: MemoryBroker, publisher: MemoryPublisher
) -> None:
    order: list[str] = []

    def named(name: str) -> object:
        def wrap(handler: HandlerFunc) -> HandlerFunc:
            def handle(message: Message) -> Sequence[Outgoing]:
                order.append(name)
                return handler(message)

            return handle

        return wrap

    router = Router(QUICK, middleware=[named("router 1"), named("router 2")])  # type: ignore[list-item]
    router.add_handler("echo", source(broker, "in"), echo, publisher, middleware=[named("own 1"), named("own 2")])  # type: ignore[list-item]
    router.start()
    publisher.publish(to("in", messages(1)))
    eventually(lambda: numbers(broker, "out"))
    router.close(5)
    assert order == ["router 1", "router 2", "own 1", "own 2"]


def test_a_failing_message_holds_its_partition_and_no_other(
    broker: MemoryBroker, publisher: MemoryPublisher, router: Router
) -> None:
    healed = Event()
    attempts: list[int] = []

    def handle(message: Message) -> Sequence[Outgoing]:
        if message.payload == b"7":
            attempts.append(1)
            if not healed.is_set():
                raise TransientError("not yet")
        return echo(message)

    publisher.publish(to("in", messages(100, keys=10)))
    bad = next(record for record in broker.records("in") if record.value == b"7")
    behind = {int(r.value or b"") for r in broker.records("in") if r.partition == bad.partition and r.offset >= bad.offset}
    router.add_handler("fragile", source(broker, "in"), handle, publisher)
    router.start()
    flowing = sorted(set(range(100)) - behind)
    eventually(lambda: len(attempts) >= 3 and numbers(broker, "out") == flowing, describe=lambda: numbers(broker, "out"))
    assert broker.committed("group", ("in", bad.partition)) == bad.offset
    healed.set()
    eventually(lambda: numbers(broker, "out") == list(range(100)), describe=lambda: numbers(broker, "out"))
    of_bad = [int(r.value or b"") for r in broker.records("out") if r.key == bad.key]
    assert of_bad == sorted(of_bad)


def test_a_record_that_is_no_message_goes_to_the_dead_letter_topic(
    broker: MemoryBroker, publisher: MemoryPublisher, router: Router
) -> None:
    publisher.publish([RawOutgoing("in", b"k", b"\xff garbage", (("x", b"\xfe"),)), *to("in", messages(3))])
    router.add_handler("echo", source(broker, "in"), echo, publisher)
    router.start()
    eventually(lambda: numbers(broker, "out") == [0, 1, 2])
    (dead,) = broker.records("in.dlt")
    headers = dict(dead.headers)
    assert (dead.key, dead.value, headers["x"]) == (b"k", b"\xff garbage", b"\xfe")
    assert (headers["x-millrace-topic"], headers["x-millrace-handler"]) == (b"in", b"echo")
    assert (headers["x-millrace-error"] or b"").startswith(b"Undecodable")


def test_without_a_dead_letter_publisher_such_a_record_holds_its_partition_and_is_not_lost(
    broker: MemoryBroker, publisher: MemoryPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish([RawOutgoing("in", b"k", b"garbage", ())])
    router = Router(QUICK)
    router.add_handler("echo", source(broker, "in"), echo, publisher)
    router.start()
    eventually(lambda: len([record for record in caplog.records if record.message == "message failed"]) >= 2)
    router.close(5)
    (record,) = broker.records("in")
    assert broker.committed("group", ("in", record.partition)) == 0


class Unreliable:
    """A publisher that times out a number of times first."""

    def __init__(self, below: MemoryPublisher, failures: int) -> None:
        self._below = below
        self._failures = failures

    def publish(self, batch: Sequence[Sendable]) -> None:
        if self._failures:
            self._failures -= 1
            raise PublishTimeout("no answer")
        self._below.publish(batch)

    def close(self) -> None:
        self._below.close()


def test_nothing_is_acknowledged_before_its_outputs_are_published(
    broker: MemoryBroker, publisher: MemoryPublisher, router: Router
) -> None:
    publisher.publish(to("in", messages(20, keys=4)))
    router.add_handler("echo", source(broker, "in"), echo, Unreliable(publisher, 3))
    router.start()
    eventually(lambda: numbers(broker, "out") == list(range(20)), describe=lambda: numbers(broker, "out"))


def test_a_consumer_handler_publishes_nothing_and_sees_its_delivery(broker: MemoryBroker, publisher: MemoryPublisher) -> None:
    seen: list[tuple[str, str, bytes]] = []

    def note(message: Message) -> None:
        delivery = current_delivery.get()
        seen.append((delivery.handler, delivery.record.topic, message.payload))

    router = Router(QUICK)
    router.add_consumer_handler("note", source(broker, "a", "b"), note)
    router.start()
    publisher.publish([*to("a", messages(1)), *to("b", messages(1))])
    eventually(lambda: sorted(seen) == [("note", "a", b"0"), ("note", "b", b"0")], describe=lambda: seen)
    router.close(5)


def test_handlers_are_added_and_stopped_while_others_run(
    broker: MemoryBroker, publisher: MemoryPublisher, router: Router
) -> None:
    router.start()
    router.add_handler("first", source(broker, "in", group="one"), echo, publisher)
    publisher.publish(to("in", messages(1)))
    eventually(lambda: len(broker.records("out")) == 1)
    router.add_handler("second", source(broker, "in", group="two"), echo, publisher)
    eventually(lambda: len(broker.records("out")) == 2)
    assert set(router.running()) == {"first", "second"}
    router.stop("first")
    assert router.running() == ("second",)
    publisher.publish(to("in", messages(1)))
    eventually(lambda: len(broker.records("out")) == 3)
    router.add_handler("first", source(broker, "in", group="one"), echo, publisher)
    eventually(lambda: len(broker.records("out")) == 4)


def test_closing_finishes_the_message_in_hand_and_leaves_the_rest(broker: MemoryBroker, publisher: MemoryPublisher) -> None:
    in_hand, go_on = Event(), Event()

    def slow(message: Message) -> Sequence[Outgoing]:
        in_hand.set()
        assert go_on.wait(5)
        return echo(message)

    publisher.publish(to("in", messages(10)))
    router = Router(QUICK)
    router.add_handler("slow", source(broker, "in"), slow, publisher)
    router.start()
    assert in_hand.wait(5)
    with pytest.raises(TimeoutError, match="slow"):
        router.close(0.01)
    go_on.set()
    router.close(5)
    assert numbers(broker, "out") == [0]
    assert sum(broker.committed("group", ("in", p)) for p in (0, 1)) == 1


def test_waiting_raises_what_ended_a_handler(broker: MemoryBroker) -> None:
    class Broken:
        def subscribe(self, topics: Sequence[str], group: str) -> object:
            raise PermanentError("no such cluster")

    router = Router(QUICK)
    router.add_consumer_handler("broken", Source(Broken(), ("in",), "group"), lambda message: None)  # type: ignore[arg-type]
    router.start()
    with pytest.raises(PermanentError, match="no such cluster"):
        router.wait(5)


def test_every_line_written_about_a_record_names_it(broker: MemoryBroker, publisher: MemoryPublisher, router: Router) -> None:
    def handle(message: Message) -> Sequence[Outgoing]:
        log.info("the handler speaks")
        raise TransientError("no")

    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"ce_correlationid": "call-1", "traceparent": f"00-{trace}-b7ad6b7169203331-00"}
    message = Message(type="t", payload=b"", key="order-1", headers=headers)
    raw = tuple((name, value.encode()) for name, value in headers.items())
    with log_lines() as lines:
        router.add_handler("failing", source(broker, "in"), handle, publisher)
        router.start()
        publisher.publish([RawOutgoing("in", b"order-1", b"", raw), Outgoing("in", message)])
        eventually(lambda: lines.saying("message failed"), describe=lines.all)
        router.close(5)
    about = lines.about(key="order-1")
    assert {line["message"] for line in about} == {"undecodable record dead-lettered", "the handler speaks", "message failed"}
    assert {(line["trace"]["id"], line["labels"]["correlation_id"], line["labels"]["handler"]) for line in about} == {
        (trace, "call-1", "failing")
    }
    failed = [line for line in about if line["message"] != "undecodable record dead-lettered"]
    assert {(line["labels"]["message_id"], line["labels"]["message_type"]) for line in failed} == {(message.id, "t")}
