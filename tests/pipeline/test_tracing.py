"""A trace and a correlation go on through whatever a message leads to: messages, calls to the outside, and what time brings."""

from datetime import timedelta
from typing import Any

from millrace.clock import micros
from millrace.decision import Decision, Publish, StartTimer
from millrace.errors import TransientError
from millrace.message import CAUSATION_ID, CORRELATION_ID, TRACEPARENT, TRACESTATE
from millrace.pipeline.inputs import outcome_of

ORIGIN = {
    TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    TRACESTATE: "vendor=1",
    CORRELATION_ID: "call-1",
}
SECOND = timedelta(seconds=1)


def leads_to(world: Any, **decision: Any) -> None:
    """Handle a message of that origin, and decide so."""
    world.scripts["begin"] = lambda body, states, context: Decision(**decision)
    world.process(world.record(world.message("a", does="begin", headers=ORIGIN)))


def publish(world: Any, deadline: StartTimer | None = None) -> Publish:
    return Publish(world.payment.PaymentDeclinedEvent(order_id="a"), deadline=deadline)


def publishes(world: Any) -> Any:
    return lambda body, states, context: Decision(publish=[publish(world)])


def raises(error: Exception) -> Any:
    def script(body: Any, states: Any, context: Any) -> Decision:
        raise error

    return script


def origin(world: Any) -> tuple[dict[str, str], str]:
    """Return what the newest message says of where it comes from, and what caused it."""
    headers = world.headers(world.outbox()[-1])
    return {name: headers[name] for name in ORIGIN if name in headers}, headers[CAUSATION_ID]


def test_a_message_goes_on_under_its_cause(world: Any) -> None:
    message = world.message("a", headers=ORIGIN)
    world.process(world.record(message))
    assert origin(world) == (ORIGIN, message.id)


def test_a_timer_goes_on_under_what_started_it(world: Any) -> None:
    leads_to(world, timers=[StartTimer("t", "x", SECOND)])
    world.scripts["timer t"] = publishes(world)
    world.clock.skip(SECOND)
    world.fire()
    assert origin(world) == (ORIGIN, "timer t")


def test_a_timer_that_was_put_off_goes_on_under_what_started_it(world: Any) -> None:
    leads_to(world, timers=[StartTimer("t", "x", SECOND)])
    world.scripts["timer t"] = raises(TransientError("later"))
    world.clock.skip(SECOND)
    world.fire()
    world.scripts["timer t"] = publishes(world)
    world.clock.skip(60 * SECOND)
    world.fire()
    assert origin(world) == (ORIGIN, "timer t")


def test_a_deadline_goes_on_under_what_set_it(world: Any) -> None:
    leads_to(world, publish=[publish(world, StartTimer("t", "x", SECOND))])
    world.scripts["timer t"] = publishes(world)
    with world.session.transaction() as tx:
        tx.outbox.delivered(tx.outbox.head(1), micros(world.clock()))
    world.clock.skip(SECOND)
    world.fire()
    assert origin(world) == (ORIGIN, "timer t")


def test_the_outcome_of_a_call_goes_on_under_what_asked_for_it(world: Any) -> None:
    leads_to(world, effects=[world.effect("e", "a")])
    world.scripts["called called"] = publishes(world)
    with world.session.transaction() as tx:
        (effect,) = tx.effects.lease(world.group, 2**62, 2**62, 10)
    world.process(inputs=[outcome_of(effect, world.Called("a"))])
    assert origin(world) == (ORIGIN, "effect e")
