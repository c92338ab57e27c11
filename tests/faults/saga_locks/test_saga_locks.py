"""Case 14: sagas that want each other's locks, a holder that crashed, and one that comes back after its lock was taken over, on PostgreSQL."""

import os
import random
import signal
from contextlib import suppress
from datetime import timedelta
from threading import Event
from typing import Any, NoReturn

import pytest

from millrace.errors import Refused
from millrace.saga import SagaStatus
from millrace.testing.waiting import eventually
from shop.payment.v1 import payment_messages_pb2 as payment

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("seed", range(5))
def test_two_sagas_that_want_each_others_lock_both_end_and_one_completes(world: Any, seed: int) -> None:
    chance = random.Random(seed)
    starts = [world.start("a", "x", "y"), world.start("b", "y", "x")]
    chance.shuffle(starts)
    world.at_once(*(lambda process, start=start: process.decide(start) for start in starts))
    world.finish(chance, world.patience)
    assert sorted(world.statuses().values()) == [SagaStatus.COMPENSATED, SagaStatus.COMPLETED]
    assert world.locks() == {}
    world.check_holders()


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_of_sagas_over_few_locks_ends_without_two_holders(world: Any, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(12):
        first, later = chance.sample(["x", "y", "z"], 2)
        process = chance.choice(world.processes)
        assert process.decide(world.start(f"s{number}", first, later)) == [None]
        world.second(chance)
    world.finish(chance, 12 * SECOND + 12 * world.patience)
    assert SagaStatus.COMPLETED in world.statuses().values()
    assert world.locks() == {}
    world.check_holders()


def test_what_a_crashed_holder_locked_is_free_after_its_lease_and_not_before(world: Any) -> None:
    chance = random.Random(0)
    world.processes[0].decide(world.start("gone", "x"))
    world.clock.skip(world.lease - world.patience - SECOND)
    world.processes[1].decide(world.start("early", "x"))
    while world.statuses()["early"] is SagaStatus.RUNNING:
        assert world.locks() == {"x": ("gone", 1)}
        world.second(chance, silent=["gone"])
    assert world.statuses()["early"] is SagaStatus.COMPENSATED
    assert world.clock() - world.began == world.lease - SECOND
    world.clock.skip(SECOND)
    world.processes[1].decide(world.start("late", "x"))
    assert world.locks() == {"x": ("late", 2)}


def test_a_process_killed_while_it_takes_a_lock_keeps_nobody_out(world: Any) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        _take_and_hang(world, told)
    os.read(ready, 1)
    try:
        waiting = world.submit(0, world.start("next", "x"))
        eventually(lambda: waiting.done() or world.waits_for_a_row(), 60)
        assert not waiting.done()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert waiting.result(60) == [None]
    assert world.locks() == {"x": ("next", 2)}


def test_who_lost_a_lock_and_comes_back_writes_nothing_under_it(world: Any) -> None:
    old, new = world.processes
    old.decide(world.start("old", "x"))
    assert old.decide(world.write("old", "x", 1)) == [None]
    world.clock.skip(world.lease)
    assert old.decide(world.write("old", "x", 1)) == [None]  # nobody else has it yet
    new.decide(world.start("new", "x"))
    [error] = old.decide(world.write("old", "x", 1))
    assert isinstance(error, Refused)
    assert new.decide(world.write("new", "x", 2)) == [None]
    old.decide(world.answer("old", payment.PaymentChargedEvent()))
    assert world.statuses()["old"] is SagaStatus.COMPENSATING
    world.finish(random.Random(0), world.lease + world.patience)
    assert world.statuses() == {"old": SagaStatus.COMPENSATED, "new": SagaStatus.COMPLETED}


def test_a_lock_is_not_taken_over_in_the_middle_of_a_write_under_it(world: Any) -> None:
    old = world.processes[0]
    begun, go_on = Event(), Event()
    old.decide(world.start("old", "x"))
    world.clock.skip(world.lease)

    def pause() -> None:
        begun.set()
        assert go_on.wait(60)

    old.records.pause = pause
    writing = world.submit(0, world.write("old", "x", 1))
    assert begun.wait(60)
    taking = world.submit(1, world.start("new", "x"))
    try:
        eventually(lambda: taking.done() or world.waits_for_a_row(), 60)
        assert not taking.done()
    finally:
        go_on.set()
    assert (writing.result(60), taking.result(60)) == ([None], [None])
    assert world.locks() == {"x": ("new", 2)}


def _take_and_hang(world: Any, told: int) -> NoReturn:
    """Take x in a transaction that stays open, in a child that shares nothing with its parent but the database's address."""
    with suppress(BaseException):
        process = world.new_process()
        process.decide(world.start("before", "x"), world.answer("before", payment.PaymentDeclinedEvent()))
        with process.session.transaction() as tx:
            tx.events.load(["lock-x"])
            os.write(told, b"1")
            signal.pause()
    os._exit(1)
