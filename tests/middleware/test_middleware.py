"""Each middleware alone, around a hand-written handler."""

import logging
import traceback
from collections.abc import Iterator, Sequence
from time import monotonic

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from millrace.errors import MillraceError, PermanentError, Postponed, TransientError
from millrace.handling import Delivery, HandlerFunc, current_delivery
from millrace.memory import MemoryBroker, MemoryPublisher
from millrace.message import CAUSATION_ID, CORRELATION_ID, TRACEPARENT, TRACESTATE, Message, Record
from millrace.middleware import (
    DeadLetter,
    HandlerMetrics,
    Retry,
    Timeout,
    Tracing,
    correlation,
    log_messages,
    recoverer,
    remaining_seconds,
)
from millrace.middleware.recoverer import Recovered
from millrace.middleware.timeout import DeadlinePassed
from millrace.pubsub import Outgoing

QUICK = Retry(attempts=3, first_seconds=0.001, max_seconds=0.002)
INPUT = Message(type="test.v1.In", payload=b"in", key="k", headers={CORRELATION_ID: "c-1"})


@pytest.fixture
def delivery() -> Iterator[Delivery]:
    made = Delivery("handler-1", Record("topic-1", 2, 40, b"k", b"\xffraw", (("h", b"\xfe"),)))
    token = current_delivery.set(made)
    yield made
    current_delivery.reset(token)


def answer(message: Message) -> Sequence[Outgoing]:
    return [Outgoing("out", Message(type="test.v1.Out", payload=b"out"))]


class Failing:
    """Raises the errors it was given, one a call, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, message: Message) -> Sequence[Outgoing]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer(message)


def headers(handler: HandlerFunc, message: Message = INPUT) -> dict[str, str]:
    (output,) = handler(message)
    return dict(output.message.headers)


def test_correlation_is_passed_on_and_the_input_named_as_the_cause() -> None:
    assert headers(correlation(answer)) == {CORRELATION_ID: "c-1", CAUSATION_ID: INPUT.id}


def test_a_message_without_correlation_starts_one() -> None:
    message = Message(type="test.v1.In", payload=b"")
    assert headers(correlation(answer), message) == {CORRELATION_ID: message.id, CAUSATION_ID: message.id}


def test_correlation_leaves_what_the_handler_set() -> None:
    def own(message: Message) -> Sequence[Outgoing]:
        return [Outgoing("out", Message(type="t", payload=b"", headers={CORRELATION_ID: "mine", "x": "y"}))]

    assert headers(correlation(own)) == {CORRELATION_ID: "mine", CAUSATION_ID: INPUT.id, "x": "y"}


def test_a_transient_error_is_tried_again(delivery: Delivery) -> None:
    handler = Failing(TransientError("1"), TransientError("2"))
    assert len(QUICK(handler)(INPUT)) == 1
    assert (handler.calls, delivery.attempts) == (3, 3)


def test_the_last_transient_error_is_raised_after_all_attempts() -> None:
    handler = Failing(*(TransientError(str(n)) for n in range(1, 9)))
    with pytest.raises(TransientError, match="3"):
        QUICK(handler)(INPUT)
    assert handler.calls == 3


@pytest.mark.parametrize("error", [PermanentError("no"), ValueError("bug")])
def test_nothing_else_is_tried_again(error: Exception) -> None:
    handler = Failing(error)
    with pytest.raises(type(error)):
        QUICK(handler)(INPUT)
    assert handler.calls == 1


def test_a_permanent_error_after_a_transient_one_ends_the_attempts() -> None:
    handler = Failing(TransientError("1"), PermanentError("no"))
    with pytest.raises(PermanentError):
        QUICK(handler)(INPUT)
    assert handler.calls == 2


@pytest.mark.parametrize("error", [PermanentError("no way"), ValueError("no way")])
def test_a_dead_letter_holds_the_raw_record_and_where_it_came_from(delivery: Delivery, error: Exception) -> None:
    broker = MemoryBroker()
    delivery.attempts = 4
    assert DeadLetter(MemoryPublisher(broker))(Failing(error))(INPUT) == ()
    (dead,) = broker.records("topic-1.dlt")
    assert (dead.key, dead.value) == (b"k", b"\xffraw")
    assert dict(dead.headers) == {
        "h": b"\xfe",
        "x-millrace-error": f"{type(error).__name__}: no way".encode(),
        "x-millrace-topic": b"topic-1",
        "x-millrace-partition": b"2",
        "x-millrace-offset": b"40",
        "x-millrace-attempts": b"4",
        "x-millrace-handler": b"handler-1",
    }


def test_exhausted_attempts_are_dead_and_counted(delivery: Delivery) -> None:
    broker = MemoryBroker()
    DeadLetter(MemoryPublisher(broker))(QUICK(Failing(*[TransientError("busy")] * 3)))(INPUT)
    (dead,) = broker.records("topic-1.dlt")
    assert dict(dead.headers)["x-millrace-attempts"] == b"3"


def test_a_transient_error_can_be_left_to_the_router(delivery: Delivery) -> None:
    with pytest.raises(TransientError):
        DeadLetter(MemoryPublisher(MemoryBroker()), exhausted=False)(Failing(TransientError("busy")))(INPUT)


def test_if_the_dead_letter_is_not_published_the_message_is_not_done(delivery: Delivery) -> None:
    publisher = MemoryPublisher(MemoryBroker())
    publisher.close()
    with pytest.raises(RuntimeError):
        DeadLetter(publisher)(Failing(PermanentError("no")))(INPUT)


def test_a_handler_sees_its_remaining_time_and_only_inside() -> None:
    seen: list[float | None] = []

    def look(message: Message) -> Sequence[Outgoing]:
        seen.append(remaining_seconds())
        return ()

    Timeout(5)(look)(INPUT)
    (left,) = seen
    assert left is not None
    assert 4 < left <= 5
    assert remaining_seconds() is None


def test_a_handler_that_comes_back_late_has_failed() -> None:
    def late(message: Message) -> Sequence[Outgoing]:
        started = monotonic()
        while monotonic() - started < 0.02:
            pass
        assert remaining_seconds() == 0
        return answer(message)

    with pytest.raises(DeadlinePassed):
        Timeout(0.01)(late)(INPUT)


def test_an_unforeseen_error_becomes_permanent_with_its_stack() -> None:
    with pytest.raises(Recovered, match="KeyError") as caught:
        recoverer(Failing(KeyError("x")))(INPUT)
    assert isinstance(caught.value, PermanentError)
    assert "test_middleware.py" in caught.value.stack
    assert "KeyError" in "".join(traceback.format_exception(caught.value.__cause__))


@pytest.mark.parametrize("error", [TransientError("t"), PermanentError("p"), MillraceError("m")])
def test_meant_errors_pass_the_recoverer(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        recoverer(Failing(error))(INPUT)
    assert caught.value is error


def traced(traceparent: str | None, **more: str) -> tuple[dict[str, str], Sequence[ReadableSpan]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    carried = more if traceparent is None else {TRACEPARENT: traceparent, **more}
    result = headers(Tracing(provider)(answer), Message(type="test.v1.In", payload=b"in", key="k", headers=carried))
    return result, exporter.get_finished_spans()


def test_a_postponed_message_passes_all_as_if_it_had_not_come(delivery: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    registry, broker = CollectorRegistry(), MemoryBroker()
    handler: HandlerFunc = Failing(Postponed(3.0))
    for wrap in (
        correlation,
        QUICK,
        recoverer,
        DeadLetter(MemoryPublisher(broker)),
        log_messages,
        HandlerMetrics(registry).of("h"),
    ):
        handler = wrap(handler)
    with pytest.raises(Postponed):
        handler(INPUT)
    assert (delivery.attempts, list(broker.records("topic-1.dlt")), caplog.records) == (1, [], [])
    assert not [
        sample for metric in registry.collect() for sample in metric.samples if sample.name.endswith("_total") and sample.value
    ]


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_an_unsampled_trace_is_passed_on_without_a_span() -> None:
    parent = f"00-{TRACE}-b7ad6b7169203331-00"
    assert traced(parent, tracestate="a=b") == ({TRACEPARENT: parent, TRACESTATE: "a=b"}, ())


def test_a_sampled_trace_gets_a_span_and_outputs_continue_it(delivery: Delivery) -> None:
    result, (span,) = traced(f"00-{TRACE}-b7ad6b7169203331-01")
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (
        "process topic-1",
        TRACE,
        "b7ad6b7169203331",
    )
    assert result[TRACEPARENT] == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert span.attributes is not None
    assert span.attributes["messaging.destination.name"] == "topic-1"
    assert span.attributes["messaging.kafka.offset"] == 40


@pytest.mark.parametrize("traceparent", [None, "garbage", f"00-{'0' * 32}-b7ad6b7169203331-01"])
def test_without_a_valid_parent_the_sampler_decides_anew(traceparent: str | None) -> None:
    result, (span,) = traced(traceparent)
    assert span.parent is None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" in result[TRACEPARENT]


def test_metrics_count_outcomes_and_measure_all() -> None:
    registry = CollectorRegistry()
    measure = HandlerMetrics(registry).of("h")
    handler = measure(Failing(TransientError("t"), PermanentError("p"), ValueError("bug")))
    for error in (TransientError, PermanentError, ValueError):
        with pytest.raises(error):
            handler(INPUT)
    handler(INPUT)

    def count(outcome: str) -> float | None:
        return registry.get_sample_value("millrace_processed_messages_total", {"handler": "h", "outcome": outcome})

    assert (count("done"), count("transient"), count("permanent")) == (1, 1, 2)
    assert registry.get_sample_value("millrace_process_duration_seconds_count", {"handler": "h"}) == 4


def test_logging_tells_of_success_and_failure_with_fields(delivery: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "millrace")
    handler = log_messages(Failing(PermanentError("no")))
    with pytest.raises(PermanentError):
        handler(INPUT)
    handler(INPUT)
    failed, handled = caplog.records
    assert (failed.message, failed.levelname, failed.__dict__["reason"]) == (
        "message failed in handler",
        "WARNING",
        "PermanentError: no",
    )
    assert (handled.message, handled.levelname, handled.__dict__["offset"]) == ("message handled", "DEBUG", 40)
    assert handled.__dict__["correlation_id"] == "c-1"
