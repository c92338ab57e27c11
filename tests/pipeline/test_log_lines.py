"""Every line written while something is handled says what: the trace, the correlation and the key, also where nothing could be read."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from millrace.decision import Decision, Effect, StartTimer
from millrace.errors import PermanentError, TransientError
from millrace.message import CORRELATION_ID, TRACEPARENT
from millrace.observability.health import Health
from millrace.observability.in_hand import in_hand
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.inputs import outcome_of
from millrace.pipeline.reactors import Reactors
from millrace.testing.log_lines import LogLines, log_lines

TRACE = "0af7651916cd43dd8448eb211c80319c"
ORIGIN = {TRACEPARENT: f"00-{TRACE}-b7ad6b7169203331-00", CORRELATION_ID: "call-1"}
SECOND = timedelta(seconds=1)
log = logging.getLogger("handler")


@pytest.fixture
def url() -> str:
    return "memory://"


@pytest.fixture
def lines() -> Iterator[LogLines]:
    with log_lines() as lines:
        yield lines


def handle(world: Any, script: Any) -> Any:
    """Handle a message of account `a`, so, between two others; return it."""
    world.scripts["script"] = script
    message = world.message("a", does="script", headers=ORIGIN)
    world.process(*world.records(world.message("before"), message, world.message("after")))
    return message


def says_and_raises(error: Exception) -> Any:
    def script(body: Any, states: Any, context: Any) -> Decision:
        log.info("the handler speaks")
        raise error

    return script


def assert_told(lines: LogLines, *sentences: str, correlation: str = "call-1", **labels: str) -> None:
    """Assert that exactly these lines were written, each with its trace, correlation and key."""
    assert [line["message"] for line in lines.all()] == list(sentences)
    for line in lines.all():
        wanted = {"correlation_id": correlation, "message_key": "a", **labels}
        assert {name: line["labels"].get(name) for name in wanted} == wanted, line
        assert line["trace"] == {"id": TRACE}, line


def test_a_message_that_fails_for_good_is_named_by_every_line(world: Any, lines: LogLines) -> None:
    message = handle(world, says_and_raises(PermanentError("no")))
    assert_told(lines, "the handler speaks", "message is dead", message_id=message.id, order_id="a")
    assert lines.saying("message is dead")[0]["kafka"] == {"topic": "payment.request", "partition": 0, "offset": 1}


def test_a_message_tried_again_is_named_by_the_lines_of_each_attempt(world: Any, lines: LogLines) -> None:
    message = handle(world, says_and_raises(TransientError("later")))
    world.clock.skip(60 * SECOND)
    world.retry_due()
    attempt = ("the handler speaks", "message will be tried again")
    assert_told(lines, *attempt, *attempt, message_id=message.id, order_id="a")


def test_a_message_that_nobody_can_read_is_named_by_what_can_be_read(world: Any, lines: LogLines) -> None:
    record = world.record(world.message("a", headers=ORIGIN))
    headers = tuple((name, value) for name, value in record.headers if name != "ce_time")
    world.process(replace(record, headers=(*headers, ("junk", b"\xff"))))
    assert_told(lines, "message is dead")


def test_a_message_without_correlation_is_its_own(world: Any, lines: LogLines) -> None:
    world.scripts["script"] = says_and_raises(PermanentError("no"))
    message = world.message("a", does="script", headers={TRACEPARENT: ORIGIN[TRACEPARENT]})
    world.process(world.record(message))
    assert_told(lines, "the handler speaks", "message is dead", correlation=message.id)


def test_what_a_handler_says_of_the_streams_it_needs_is_named(
    world: Any, lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = world.engine.handler_of(world.payment.ChargePaymentCommand())

    def streams(body: Any) -> Any:
        log.info("streams are named")
        raise PermanentError("none")

    monkeypatch.setattr(handler, "streams", streams)
    world.process(world.record(world.message("a", headers=ORIGIN)))
    assert_told(lines, "streams are named", "streams are named", "message is dead")


def test_a_timer_that_fails_is_named_with_its_origin(world: Any, lines: LogLines) -> None:
    handle(world, lambda body, states, context: Decision(timers=[StartTimer("t", "x", SECOND)]))
    world.scripts["timer t"] = says_and_raises(PermanentError("no"))
    world.clock.skip(SECOND)
    world.fire()
    assert_told(lines, "the handler speaks", "timer failed", timer_id="t")


def test_an_outcome_that_is_refused_is_named_with_its_origin(world: Any, lines: LogLines) -> None:
    handle(world, lambda body, states, context: Decision(effects=[Effect("e", world.Call("a"))]))
    world.scripts["called note"] = says_and_raises(PermanentError("no"))
    with world.session.transaction() as tx:
        (effect,) = tx.effects.lease(world.group, 2**62, 2**62, 10)
    world.process(inputs=[outcome_of(effect, world.Called("a", "note"))])
    assert_told(lines, "the handler speaks", "outcome refused", effect_id="e")


def test_a_call_to_the_outside_is_named_with_its_origin(world: Any, lines: LogLines) -> None:
    answers = [TransientError("later"), KeyError("bug"), None]

    async def call(request: Any, effect_id: str) -> object:
        log.info("the reactor speaks")
        if (error := answers.pop(0)) is not None:
            raise error
        ended.set()
        return world.Called(request.account)

    async def scene() -> None:
        commands = CommandThread(world.engine, world.store, Health())
        reactors = Reactors({world.Call: call}, world.engine, commands)
        commands.start()
        reactors.start()
        asks = Decision(effects=[Effect("e", world.Call("a"))])
        await asyncio.to_thread(handle, world, lambda body, states, context: asks)
        await asyncio.wait_for(ended.wait(), 20)
        await reactors.stop()
        await asyncio.to_thread(commands.stop)

    ended = asyncio.Event()
    asyncio.run(scene())
    speaks = "the reactor speaks"
    assert_told(lines, speaks, "call will be repeated", speaks, "call failed", speaks, effect_id="e", effect_kind="Call")


def test_nothing_is_in_hand_once_a_batch_is_done(world: Any, lines: LogLines) -> None:
    handle(world, says_and_raises(PermanentError("no")))
    assert in_hand.get() is None
