"""Timers and effects commit with the decision that asked for them, and are gone with the one that they led to."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from millrace.clock import micros
from millrace.decision import Context, Decision, Publish, StartTimer, TimerFired
from millrace.errors import Refused, TransientError
from millrace.pipeline.inputs import Input, Result

SECOND = timedelta(seconds=1)


def starts(*timers: StartTimer, cancels: tuple[str, ...] = ()) -> Any:
    return lambda body, states, context: Decision(timers=timers, cancel_timers=cancels)


def raises(error: Exception) -> Any:
    def script(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        raise error

    return script


def test_a_timer_fires_once_when_it_is_due(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "reminder", 5 * SECOND, attempt=3))
    world.process(world.record(world.message("a", does="start")))
    world.clock.skip(4 * SECOND)
    assert world.fire() == []
    world.clock.skip(SECOND)
    assert [timer.id for timer in world.fire()] == ["t"]
    assert world.notes("a") == ["t reminder 3"]
    assert world.fire() == []


def test_a_timer_that_two_workers_found_fires_once(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "reminder", SECOND))
    world.process(world.record(world.message("a", does="start")))
    world.clock.skip(SECOND)
    (timer,) = world.due_timers()
    fired = Input("timer t", "a", TimerFired("t", "reminder", "a", 1), {}, timer=timer)
    world.process(inputs=[fired])
    assert world.process(inputs=[fired]) == {"timer t": Result()}
    assert world.notes("a") == ["t reminder 1"]
    assert world.due_timers() == []


def test_a_timer_started_again_is_replaced_and_a_cancelled_one_never_fires(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND), StartTimer("u", "x", SECOND))
    world.scripts["again"] = starts(StartTimer("t", "x", 9 * SECOND, attempt=2), cancels=("u", "never started"))
    world.process(world.record(world.message("a", does="start")))
    world.process(world.record(world.message("a", does="again")))
    world.clock.skip(2 * SECOND)
    assert world.fire() == []
    world.clock.skip(8 * SECOND)
    world.fire()
    assert world.notes("a") == ["t x 2"]


def test_within_one_batch_the_last_word_on_a_timer_counts(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND), StartTimer("u", "x", SECOND))
    world.scripts["cancel"] = starts(cancels=("t", "u"))
    world.scripts["again"] = starts(StartTimer("u", "x", SECOND, attempt=2))
    world.process(*world.records(*(world.message("a", does=does) for does in ("start", "cancel", "again"))))
    world.clock.skip(SECOND)
    assert [(timer.id, timer.attempt) for timer in world.fire()] == [("u", 2)]


def test_a_timer_set_anew_after_it_was_found_due_does_not_fire(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND))
    world.scripts["later"] = starts(StartTimer("t", "x", 60 * SECOND, attempt=2))
    world.process(world.record(world.message("a", does="start")))
    world.clock.skip(SECOND)
    (found,) = world.due_timers()
    world.process(world.record(world.message("a", does="later")))
    world.process(inputs=[Input("timer t", "a", TimerFired("t", "x", "a", 1), {}, timer=found)])
    assert world.notes("a") == []
    world.clock.skip(60 * SECOND)
    world.fire()
    assert world.notes("a") == ["t x 2"]


def test_the_timers_of_a_blocked_key_wait_until_it_is_free(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND))
    world.scripts["fail"] = raises(Refused("no"))
    world.process(*world.records(world.message("a", does="start"), world.message("a", does="fail")))
    world.clock.skip(SECOND)
    world.fire()
    assert world.notes("a") == []
    with world.session.transaction() as tx:
        tx.parked.release(tx.parked.list(world.group))
    world.clock.skip(60 * SECOND)
    world.fire()
    assert world.notes("a") == ["t x 1"]


def test_a_timer_that_is_put_off_does_not_undo_its_own_replacement_of_the_same_batch(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND))
    world.scripts["replace"] = starts(StartTimer("t", "x", 5 * SECOND, attempt=2))
    world.scripts["fail"] = raises(TransientError("later"))
    world.process(world.record(world.message("a", does="start")))
    world.clock.skip(SECOND)
    (found,) = world.due_timers()
    fired = Input("timer t", "a", TimerFired("t", "x", "a", 1), {}, timer=found)
    world.process(*world.records(world.message("a", does="replace"), world.message("a", does="fail")), inputs=[fired])
    world.clock.skip(5 * SECOND)
    assert [timer.attempt for timer in world.due_timers()] == [2]


def test_a_timer_whose_handler_fails_is_fired_again_later(world: Any) -> None:
    world.scripts["start"] = starts(StartTimer("t", "x", SECOND))
    world.scripts["timer t"] = raises(ValueError("a bug"))
    world.process(world.record(world.message("a", does="start")))
    world.clock.skip(SECOND)
    world.fire()
    del world.scripts["timer t"]
    assert world.fire() == []
    world.clock.skip(60 * SECOND)
    world.fire()
    assert world.notes("a") == ["t x 1"]


def test_a_deadline_begins_when_the_broker_has_its_message(world: Any) -> None:
    deadline = StartTimer("t", "x", 5 * SECOND)
    body = world.payment.PaymentDeclinedEvent(order_id="a")
    world.scripts["ask"] = lambda b, s, c: Decision(publish=[Publish(body, deadline=deadline)])
    world.process(world.record(world.message("a", does="ask")))
    world.clock.skip(timedelta(days=1))
    assert world.fire() == []
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(1), micros(world.clock()))
    world.clock.skip(4 * SECOND)
    assert world.fire() == []
    world.clock.skip(SECOND)
    world.fire()
    assert world.notes("a") == ["t x 1"]


def test_a_cancelled_deadline_is_not_begun_by_its_delivery(world: Any) -> None:
    body = world.payment.PaymentDeclinedEvent(order_id="a")
    world.scripts["ask"] = lambda b, s, c: Decision(publish=[Publish(body, deadline=StartTimer("t", "x", SECOND))])
    world.scripts["cancel"] = starts(cancels=("t",))
    world.process(*world.records(world.message("a", does="ask"), world.message("a", does="cancel")))
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(1), micros(world.clock()))
    world.clock.skip(SECOND)
    assert world.fire() == []


def test_an_effect_is_committed_with_its_decision_and_removed_with_its_outcome_once(world: Any) -> None:
    world.scripts["call"] = lambda body, states, context: Decision(effects=[world.effect("e", body.order_id)])
    heard: list[Any] = []
    world.engine.listen(lambda committed: heard.extend(committed.effects))
    world.process(world.record(world.message("a", does="call")))
    (effect,) = heard
    assert (effect.id, effect.key, effect.kind) == ("e", "a", "Call")
    outcome = Input("effect e", "a", world.Called("a"), {}, effect=effect)
    world.process(inputs=[outcome])
    world.process(inputs=[outcome])
    assert world.notes("a") == ["called"]
    world.clock.skip(timedelta(days=1))
    with world.session.transaction() as tx:
        assert tx.effects.lease(world.group, micros(world.clock()), 0, 10) == []


def test_an_effect_whose_outcome_cannot_be_decided_is_called_again(world: Any) -> None:
    world.scripts["call"] = lambda body, states, context: Decision(effects=[world.effect("e", body.order_id)])
    world.scripts["called called"] = raises(ValueError("a bug"))
    heard: list[Any] = []
    world.engine.listen(lambda committed: heard.extend(committed.effects))
    world.process(world.record(world.message("a", does="call")))
    world.process(inputs=[Input("effect e", "a", world.Called("a"), {}, effect=heard[0])])
    waits: list[timedelta] = []
    for _ in range(4):
        waited = timedelta()
        while not (found := lease(world)):
            world.clock.skip(timedelta(seconds=1))
            waited += timedelta(seconds=1)
        assert [effect.id for effect in found] == ["e"]
        waits.append(waited)
        world.process(inputs=[Input("effect e", "a", world.Called("a"), {}, effect=found[0])])
    assert waits == sorted(set(waits)), "each wait is longer than the one before"


def lease(world: Any) -> list[Any]:
    with world.session.transaction() as tx:
        return list(tx.effects.lease(world.group, micros(world.clock()), 0, 10))


def test_an_outcome_for_a_blocked_key_is_decided_nevertheless(world: Any) -> None:
    world.scripts["call"] = lambda body, states, context: Decision(effects=[world.effect("e", body.order_id)])
    world.scripts["fail"] = raises(Refused("no"))
    heard: list[Any] = []
    world.engine.listen(lambda committed: heard.extend(committed.effects))
    world.process(*world.records(world.message("a", does="call"), world.message("a", does="fail")))
    world.process(inputs=[Input("effect e", "a", world.Called("a"), {}, effect=heard[0])])
    assert world.notes("a") == ["called"]
