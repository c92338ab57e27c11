"""Commands of the edge are decided many at a time, answered once committed, and told when the database is away."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devkit.postgres import PostgresServer
from millrace.errors import Unavailable
from millrace.observability.health import Health
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.inputs import Input
from millrace.testing.waiting import eventually


class Gate:
    """Holds a store's turn at its transactions, and counts them."""

    def __init__(self, world: Any) -> None:
        self.batches: list[int] = []
        self._open = threading.Event()
        self._waiting = threading.Event()
        self._open.set()
        process = world.engine.process

        def counted(session: Any, batch: Any) -> Any:
            self._waiting.set()
            assert self._open.wait(20)
            self.batches.append(len(batch.inputs))
            return process(session, batch)

        world.engine.process = counted

    @contextmanager
    def closed(self) -> Iterator[threading.Event]:
        """Keep batches from their transactions; gives what is set once one has arrived."""
        self._waiting.clear()
        self._open.clear()
        yield self._waiting
        self._open.set()


@pytest.fixture
def gate(world: Any) -> Gate:
    return Gate(world)


@contextmanager
def running(thread: CommandThread) -> Iterator[CommandThread]:
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


@pytest.fixture
def commands(world: Any) -> Iterator[CommandThread]:
    with running(CommandThread(world.engine, world.store, Health())) as thread:
        yield thread


def deposit(world: Any, name: str, account: str = "a", **fields: Any) -> Input:
    return Input(name, account, world.Deposit(account, **fields), {})


def test_a_command_is_answered_with_the_reply_of_its_committed_decision(world: Any, commands: CommandThread) -> None:
    assert asyncio.run(commands.decide(deposit(world, "one", amount=5))) == 5
    assert world.notes("a") == ["one"]


def test_a_refused_command_raises_what_refused_it(world: Any, commands: CommandThread) -> None:
    with pytest.raises(KeyError, match="refused"):
        asyncio.run(commands.decide(deposit(world, "one", refuse=True)))


def test_commands_that_arrive_during_a_transaction_share_the_next(world: Any, gate: Gate, commands: CommandThread) -> None:
    async def many() -> list[object]:
        with gate.closed() as waiting:
            first = asyncio.ensure_future(commands.decide(deposit(world, "first")))
            await asyncio.to_thread(waiting.wait, 20)
            rest = [asyncio.ensure_future(commands.decide(deposit(world, f"c{n}"))) for n in range(50)]
            await asyncio.sleep(0)
        return await asyncio.gather(first, *rest)

    assert asyncio.run(many()) == list(range(1, 52))
    assert gate.batches == [1, 50]


def test_a_command_with_a_message_too_large_is_told_so_and_those_beside_it_stand(world: Any) -> None:
    world.engine = world.new_engine(max_message_bytes=1000)
    gate = Gate(world)
    commands = CommandThread(world.engine, world.store, Health())
    commands.start()
    sizes = {"small": 10, "large": 2000, "other": 10}

    async def decide() -> list[object]:
        with gate.closed() as waiting:
            first = asyncio.ensure_future(commands.decide(deposit(world, "first")))
            await asyncio.to_thread(waiting.wait, 20)
            beside = [
                asyncio.ensure_future(commands.decide(deposit(world, name, message_bytes=size))) for name, size in sizes.items()
            ]
            await asyncio.sleep(0)
        return await asyncio.gather(first, *beside, return_exceptions=True)

    first, small, large, other = asyncio.run(decide())
    commands.stop()
    assert (first, small, other) == (1, 2, 3)
    assert isinstance(large, ValueError)
    assert "more than the 1000 allowed" in str(large)
    assert gate.batches == [1, 3]
    assert world.notes("a") == ["first", "small", "other"]
    assert len(world.outbox()) == 2


def test_a_command_cancelled_before_its_transaction_is_dropped(world: Any, gate: Gate, commands: CommandThread) -> None:
    async def cancel() -> None:
        with gate.closed() as waiting:
            first = asyncio.ensure_future(commands.decide(deposit(world, "first")))
            await asyncio.to_thread(waiting.wait, 20)
            second, third = (asyncio.ensure_future(commands.decide(deposit(world, name))) for name in ("second", "third"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(first, third)

    asyncio.run(cancel())
    assert world.notes("a") == ["first", "third"]


def test_a_command_cancelled_after_its_transaction_began_stands(world: Any, gate: Gate, commands: CommandThread) -> None:
    async def cancel() -> None:
        with gate.closed() as waiting:
            first = asyncio.ensure_future(commands.decide(deposit(world, "first")))
            await asyncio.to_thread(waiting.wait, 20)
            first.cancel()
            await asyncio.sleep(0)

    asyncio.run(cancel())
    eventually(lambda: world.notes("a") == ["first"])


def test_what_was_handed_in_before_the_stop_is_decided(world: Any, gate: Gate) -> None:
    commands = CommandThread(world.engine, world.store, Health())
    commands.start()

    async def stop() -> list[object]:
        with gate.closed() as waiting:
            first = asyncio.ensure_future(commands.decide(deposit(world, "first")))
            await asyncio.to_thread(waiting.wait, 20)
            second = asyncio.ensure_future(commands.decide(deposit(world, "second")))
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(asyncio.to_thread(commands.stop))
            await asyncio.sleep(0)
        answers = await asyncio.gather(first, second)
        await stopping
        return list(answers)

    assert asyncio.run(stop()) == [1, 2]


def test_sweeps_go_on_and_survive_one_that_fails(world: Any, commands: CommandThread) -> None:
    swept: list[str] = []

    def failing(_: Any) -> None:
        swept.append("failing")
        raise ValueError("a bug")

    commands.every_second(failing)
    commands.every_second(lambda _: swept.append("good"))
    eventually(lambda: swept.count("good") >= 2, describe=lambda: swept)


def test_while_the_database_is_away_commands_are_told_and_outcomes_wait(new_world: Any, private_postgres: PostgresServer) -> None:
    world, health = new_world(private_postgres.url), Health()
    heard: list[Any] = []
    world.engine.listen(lambda committed: heard.extend(committed.effects))
    world.scripts["call"] = lambda body, states, context: type(states) and _calls(world, body)
    world.process(world.record(world.message("a", does="call")))
    with running(CommandThread(world.engine, world.store, health)) as commands:
        assert asyncio.run(commands.decide(deposit(world, "before"))) == 1
        private_postgres.kill()
        commands.record(Input("effect e", "a", world.Called("a"), {}, effect=heard[0]))
        for name in ("one", "two"):
            with pytest.raises(Unavailable):
                asyncio.run(asyncio.wait_for(commands.decide(deposit(world, name)), 20))
        assert not health.snapshot()["database"].ok
        private_postgres.start()
        eventually(lambda: health.snapshot()["database"].ok, 20)
        world.session.close()
        eventually(lambda: "called" in world.notes("a"), 20, lambda: world.notes("a"))
        assert asyncio.run(commands.decide(deposit(world, "after"))) == 3
    assert world.notes("a") == ["before", "called", "after"]


def _calls(world: Any, body: Any) -> Any:
    from millrace.decision import Decision

    return Decision(effects=[world.effect("e", body.order_id)])
