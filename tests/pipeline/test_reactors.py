"""Reactors call in order within a key and side by side across keys; each outcome counts once, whoever dies."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from millrace.decision import Decision, Effect
from millrace.errors import TransientError
from millrace.observability.health import Health
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.inputs import Input
from millrace.pipeline.reactors import Reactor, Reactors

_PATIENCE_SECONDS = 20.0


class Calls:
    """A reactor that records and waits for the test's leave."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.begun: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.faults: dict[str, list[Exception]] = {}

    async def __call__(self, request: Any, effect_id: str) -> object:
        self.begun.append(effect_id)
        if self.faults.get(effect_id):
            raise self.faults[effect_id].pop(0)
        if effect_id in self.leave:
            await self.leave[effect_id].wait()
        return self.world.Called(request.account, effect_id)


async def until(condition: Callable[[], object], seen: Callable[[], object]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(poll(), _PATIENCE_SECONDS)
    except TimeoutError:
        pytest.fail(f"not in time; last seen: {seen()}")


@pytest.fixture
def calls(world: Any) -> Calls:
    return Calls(world)


@asynccontextmanager
async def running(world: Any, reactor: Reactor, engine: Any = None, **options: Any) -> Any:
    engine = engine or world.engine
    commands = CommandThread(engine, world.store, Health())
    reactors = Reactors({world.Call: reactor}, engine, commands, **options)
    commands.start()
    reactors.start()
    try:
        yield reactors
    finally:
        await reactors.stop()
        await asyncio.to_thread(commands.stop)


def asks(world: Any, *effects: str) -> Any:
    """Return a message for account `a` that asks for these effects."""
    world.scripts[" ".join(effects)] = lambda body, states, context: Decision(
        effects=[Effect(name, world.Call(body.order_id)) for name in effects]
    )
    return " ".join(effects)


async def ask(world: Any, account: str, *effects: str) -> None:
    await asyncio.to_thread(world.process, world.record(world.message(account, does=asks(world, *effects))))


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scene(), 60)

    asyncio.run(bounded())


def test_the_outcome_of_a_call_is_decided_once(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        async with running(world, calls):
            await ask(world, "a", "one")
            await until(lambda: world.notes("a") == ["one"], lambda: world.notes("a"))
        assert calls.begun == ["one"]

    play(scene)
    with world.session.transaction() as tx:
        assert tx.effects.lease(world.group, 2**62, 0, 10) == []


def test_calls_of_one_key_are_made_one_behind_the_other_and_those_of_others_beside_them(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        calls.leave["a1"] = asyncio.Event()
        async with running(world, calls):
            await ask(world, "a", "a1", "a2")
            await until(lambda: calls.begun == ["a1"], lambda: calls.begun)
            await ask(world, "a", "a3")
            await ask(world, "b", "b1")
            await until(lambda: world.notes("b") == ["b1"], lambda: calls.begun)
            assert calls.begun == ["a1", "b1"]
            calls.leave["a1"].set()
            await until(lambda: len(world.notes("a")) == 3, lambda: world.notes("a"))
        assert calls.begun == ["a1", "b1", "a2", "a3"]
        assert world.notes("a") == ["a1", "a2", "a3"]

    play(scene)


def test_no_more_calls_are_under_way_than_allowed(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        for name in ("a1", "b1", "c1"):
            calls.leave[name] = asyncio.Event()
        async with running(world, calls, concurrency=2):
            for name in ("a1", "b1", "c1"):
                await ask(world, name[0], name)
            await until(lambda: len(calls.begun) == 2, lambda: calls.begun)
            calls.leave[calls.begun[0]].set()
            await until(lambda: len(calls.begun) == 3, lambda: calls.begun)
            for event in calls.leave.values():
                event.set()
            await until(lambda: world.notes("c") == ["c1"], lambda: calls.begun)

    play(scene)


@pytest.mark.parametrize("fault", [TransientError("later"), ValueError("a bug")])
def test_a_call_that_fails_is_repeated_under_the_same_id_and_holds_back_its_key_alone(
    world: Any, calls: Calls, fault: Exception
) -> None:
    async def scene() -> None:
        calls.faults["one"] = [fault]
        async with running(world, calls):
            await ask(world, "a", "one", "two")
            await until(lambda: len(world.notes("a")) == 2, lambda: calls.begun)
        assert calls.begun == ["one", "one", "two"]

    play(scene)


def test_a_call_whose_process_died_is_made_again_by_another(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        dying = Calls(world)
        dying.leave["one"] = asyncio.Event()
        async with running(world, dying):
            await ask(world, "a", "one")
            await until(lambda: dying.begun == ["one"], lambda: dying.begun)
        assert world.notes("a") == []
        world.clock.skip(timedelta(minutes=5))
        engine = world.new_engine()
        async with running(world, calls, engine):
            await until(lambda: world.notes("a") == ["one"], lambda: calls.begun)
        assert calls.begun == ["one"]

    play(scene)


def test_an_outcome_that_two_processes_found_counts_once(world: Any) -> None:
    """The first was only slow: its lease ran out, another called too, and both bring an outcome."""

    async def scene() -> None:
        slow = Calls(world)
        slow.leave["one"] = asyncio.Event()
        async with running(world, slow):
            await ask(world, "a", "one")
            await until(lambda: slow.begun == ["one"], lambda: slow.begun)
            with world.session.transaction() as tx:
                (effect,) = tx.effects.lease(world.group, 2**62, 2**62, 10)
            outcome = Input("effect one", "a", world.Called("a", "one"), {}, effect=effect)
            await asyncio.to_thread(world.process, inputs=[outcome])
            assert world.notes("a") == ["one"]
            slow.leave["one"].set()
            await ask(world, "a", "two")
            await until(lambda: "two" in world.notes("a"), lambda: world.notes("a"))
        assert world.notes("a") == ["one", "two"]

    play(scene)


def test_a_call_longer_than_its_lease_keeps_it(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        calls.leave["one"] = asyncio.Event()
        other = Calls(world)
        async with running(world, calls):
            await ask(world, "a", "one")
            await until(lambda: calls.begun == ["one"], lambda: calls.begun)
            first = _lease(world)
            world.clock.skip(timedelta(seconds=5))
            await until(lambda: _lease(world) > first, lambda: _lease(world))
            calls.leave["one"].set()
            await until(lambda: world.notes("a") == ["one"], lambda: world.notes("a"))
        assert (calls.begun, other.begun) == (["one"], [])

    play(scene)


def test_an_effect_of_a_kind_nobody_here_calls_does_not_hold_up_its_key(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        async with running(world, calls):
            with world.session.transaction() as tx:
                tx.effects.add(world.group, [PendingEffect("unknown", "a", "OfANewerVersion", "{}", "{}")], 0)
            await ask(world, "b", "first")
            await until(lambda: _leases(world) > 1, lambda: _leases(world))
            await ask(world, "a", "one")
            await until(lambda: world.notes("a") == ["one"], lambda: calls.begun)

    play(scene)


def test_an_effect_that_cannot_be_read_does_not_hold_up_its_key_and_is_left_to_another_process(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        async with running(world, calls) as reactors:
            with world.session.transaction() as tx:
                tx.effects.add(world.group, [PendingEffect("newer", "a", "Call", '{"account": 5}', "{}")], 0)
            await until(lambda: _leases(world) > 1, lambda: _leases(world))
            await ask(world, "a", "one")
            await until(lambda: world.notes("a") == ["one"], lambda: calls.begun)
            await until(lambda: not reactors._held, lambda: reactors._held)
        assert calls.begun == ["one"]

    play(scene)


def test_calls_that_wait_for_their_next_attempt_take_no_place(world: Any, calls: Calls) -> None:
    async def scene() -> None:
        for name in ("a1", "b1"):
            calls.faults[name] = [TransientError("away")] * 1000
        async with running(world, calls, concurrency=2):
            for name in ("a1", "b1", "c1"):
                await ask(world, name[0], name)
            await until(lambda: world.notes("c") == ["c1"], lambda: calls.begun)

    play(scene)


def _lease(world: Any) -> int:
    with world.session.transaction() as tx:
        return int(tx.sql.execute("SELECT max(leased_until) FROM effect")[0][0])


def _leases(world: Any) -> int:
    with world.session.transaction() as tx:
        return int(tx.sql.execute("SELECT count(*) + max(leased_until) FROM effect")[0][0] or 0)
