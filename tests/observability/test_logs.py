"""Lines are ECS JSON with service, trace and what is in hand."""

import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from millrace.handling import Delivery
from millrace.message import Record
from millrace.observability.in_hand import in_hand
from millrace.observability.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    (text,) = capsys.readouterr().out.splitlines()
    parsed: dict[str, object] = json.loads(text)
    return parsed


def nested(document: object, path: str) -> object:
    for name in path.split("."):
        assert isinstance(document, dict), f"{path} is not in the line"
        document = document[name]
    return document


def test_a_line_names_service_order_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("order", "1.2.3")
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        logging.getLogger("shop").info("order placed", extra={"order_id": "o-1", "attempt": 2})
    logged = line(capsys)
    assert logged["message"] == "order placed"
    assert logged["log.level"] == "info"
    assert (nested(logged, "service.name"), nested(logged, "service.version")) == ("order", "1.2.3")
    assert nested(logged, "labels") == {"order_id": "o-1", "attempt": 2}
    assert nested(logged, "trace.id") == f"{span.get_span_context().trace_id:032x}"
    assert nested(logged, "span.id") == f"{span.get_span_context().span_id:016x}"


def test_the_message_of_a_line_is_its_sentence_whatever_is_told_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("order", "1")
    about = {
        "message_id": "m-1",
        "message_key": "k",
        "message_type": "T",
        "handler": "h",
        "log": "l",
        "error": "e",
        "service": "s",
    }
    logging.getLogger("shop").info("message %s", "handled", extra=about)
    logged = line(capsys)
    assert logged["message"] == "message handled"
    assert logged["log.level"] == "info"
    assert nested(logged, "labels") == about


def test_what_a_line_says_itself_goes_before_what_is_in_hand(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("order", "1")
    token = in_hand.set(Delivery("handler", Record("topic", 3, 4, b"key\xff", b"", (("traceparent", b"00-no-trace-00"),))))
    try:
        logging.getLogger("shop").info("one thing", extra={"handler": "mine"})
    finally:
        in_hand.reset(token)
    logged = line(capsys)
    assert nested(logged, "labels") == {"handler": "mine", "message_key": "key\\xff"}
    assert nested(logged, "kafka") == {"topic": "topic", "partition": 3, "offset": 4}
    assert "trace" not in logged


def test_an_exception_is_one_line_with_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("order", "1")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("shop").exception("it failed")
    logged = line(capsys)
    assert (nested(logged, "error.type"), nested(logged, "error.message")) == ("ValueError", "boom")
    assert "boom" in str(nested(logged, "error.stack_trace"))


def test_lines_below_the_level_are_left_out_and_unknown_levels_refused(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("order", "1", "WARNING")
    logging.getLogger("shop").info("not this one")
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("order", "1", "loud")
