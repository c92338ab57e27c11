"""A world does what production does, on one thread: time skips, processes crash around commits, messages are late, lost and doubled."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Context, Decision, Effect, Handlers, Publish, StreamType
from millrace.errors import PermanentError, Unavailable
from millrace.testing.clock import SkippingClock
from millrace.testing.world import Delivery, Faults, ServiceSpec, SkippingLoop, World, WorldService
from shop.payment.v1.payment_messages_pb2 import PaymentChargedEvent, PaymentRefundedEvent

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Tally:
    heard: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    order_id: str


@dataclass(frozen=True, slots=True)
class Ring:
    """A call to the outside."""

    order_id: str


@dataclass(frozen=True, slots=True)
class Rung:
    order_id: str


TALLY = StreamType("tally", Tally(), lambda state, _: replace(state, heard=state.heard + 1), (Heard,))


class Hear:
    """Counts every PaymentChargedEvent, tells of it, and rings."""

    def streams(self, body: Any) -> Sequence[str]:
        return (TALLY.stream(body.order_id),)

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        if body.order_id == "refused":
            raise PermanentError("never")
        return Decision(
            [(TALLY.stream(body.order_id), Heard(body.order_id))],
            effects=[Effect(f"ring {body.order_id}", Ring(body.order_id))],
        )


class Tell:
    def streams(self, body: Rung) -> Sequence[str]:
        return ()

    def decide(self, body: Rung, states: Mapping[str, Any], context: Context) -> Decision:
        return Decision(publish=[Publish(PaymentRefundedEvent(order_id=body.order_id))])


class Bell:
    """Rings for a second, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[str] = []
        self._failures = failures

    async def __call__(self, request: Ring, effect_id: str) -> Rung:
        self.calls.append(effect_id)
        await asyncio.sleep(1)
        if len(self.calls) <= self._failures:
            raise Unavailable("broken")
        return Rung(request.order_id)


Enter = Callable[..., tuple[World, WorldService, Bell]]


@pytest.fixture
def enter() -> Iterator[Enter]:
    worlds: list[World] = []

    def make(faults: Faults | None = None, failures: int = 0) -> tuple[World, WorldService, Bell]:
        world, bell = World(faults), Bell(failures)
        worlds.append(world)
        handlers = Handlers((TALLY,), {PaymentChargedEvent: Hear(), Rung: Tell()})
        spec = ServiceSpec(
            name="listener", topics=("payment.result",), handlers=handlers, registry=TypeRegistry([PaymentChargedEvent]),
            reactors={Ring: bell},
        )  # fmt: skip
        return world, world.add(spec), bell

    yield make
    for world in worlds:
        world.close()


def heard(service: WorldService, order_id: str = "o-1") -> int:
    return service.state(TALLY, order_id).heard


def test_what_sleeps_an_hour_wakes_when_the_clock_is_moved_an_hour() -> None:
    clock = SkippingClock()
    loop = SkippingLoop(clock)
    order: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    loop.create_task(sleep("late", 3600))
    loop.create_task(sleep("early", 60))
    assert loop.run_due()
    assert not loop.run_due()
    assert loop.next_due() == timedelta(minutes=1)
    clock.skip(timedelta(hours=1))
    loop.run_due()
    assert order == ["early", "late"]
    assert loop.next_due() is None
    loop.close()


def test_a_call_to_the_outside_takes_its_time_and_is_repeated_until_it_succeeds(enter: Enter) -> None:
    world, _, bell = enter(failures=2)
    world.publish(PaymentChargedEvent(order_id="o-1"))
    world.settle()
    assert bell.calls == ["ring o-1"]
    assert world.published(PaymentRefundedEvent) == []
    world.skip(timedelta(minutes=1))
    assert bell.calls == ["ring o-1"] * 3
    assert [told.order_id for told in world.published(PaymentRefundedEvent)] == ["o-1"]


def test_a_process_that_ends_amid_a_call_makes_it_again_and_tells_of_it_once(enter: Enter) -> None:
    world, service, bell = enter()
    world.publish(PaymentChargedEvent(order_id="o-1"))
    world.settle()
    service.crash()
    world.skip(timedelta(minutes=1))
    assert bell.calls == ["ring o-1"] * 2
    assert len(world.published(PaymentRefundedEvent)) == 1


@pytest.mark.parametrize("where", ["before a commit", "behind a commit"])
def test_a_crash_around_any_commit_loses_and_doubles_nothing(enter: Enter, where: str) -> None:
    class CrashOnce(Faults):
        """Crash at the commit of one number."""

        def __init__(self, number: int) -> None:
            self.left = number

        def crashes(self, service: str, at: str) -> bool:
            self.left -= at == where
            return self.left == 0 and at == where

    crashes = 0
    for number in range(1, 40):
        faults = CrashOnce(number)
        world, service, _ = enter(faults)
        world.publish(PaymentChargedEvent(order_id="o-1"), PaymentChargedEvent(order_id="o-1"))
        world.skip(timedelta(seconds=30))
        assert heard(service) == 2
        assert len({told.order_id for told in world.published(PaymentRefundedEvent)}) == 1
        crashes += service.crashes
    assert crashes > 20


def test_a_message_whose_report_is_lost_is_sent_again_under_its_id(enter: Enter) -> None:
    class LoseOne(Faults):
        sent = 0

        def delivery(self, topic: str, key: bytes | None) -> Delivery:
            self.sent += 1
            return Delivery(SECOND, reported=self.sent > 1)

    world, _, _ = enter(LoseOne())
    world.publish(PaymentChargedEvent(order_id="o-1"))
    world.skip(timedelta(minutes=1))
    told = [
        r for r in world.broker.records("payment.result") if ("ce_type", b"shop.payment.v1.PaymentRefundedEvent") in r.headers
    ]
    assert len(told) == 2
    assert len({dict(record.headers)["ce_id"] for record in told}) == 1


def test_records_given_again_are_handled_once(enter: Enter) -> None:
    class FromTheBeginning(Faults):
        def rereads(self, offset: int) -> int:
            return 0

    world, service, _ = enter(FromTheBeginning())
    for _ in range(3):
        world.publish(PaymentChargedEvent(order_id="o-1"))
        world.skip(SECOND)
    assert heard(service) == 3


def test_what_can_never_be_handled_is_told_of_as_in_production(enter: Enter) -> None:
    world, service, _ = enter()
    world.publish(PaymentChargedEvent(order_id="refused"), PaymentChargedEvent(order_id="o-1"))
    world.settle()
    assert heard(service) == 1
    assert len(world.broker.records("payment.result.dlt")) == 1


def test_a_command_to_a_service_that_is_away_is_refused(enter: Enter) -> None:
    _, service, _ = enter()
    service.crash()
    with pytest.raises(Unavailable):
        service.order("o-1", Ring("o-1"))
