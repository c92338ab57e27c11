"""What librdkafka says of a failed connection becomes the reason for what fails behind it, and does not fill the log."""

import logging

import pytest

from millrace.kafka.connection import LATELY_SECONDS, ConnectionLog

REFUSED = "[thrd:10.0.0.1:9092/bootstrap]: 10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
HUNG_UP = "Disconnected: connection closed by peer: receive 0 after POLLIN"
CLIENT = "millrace#producer-1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(log: ConnectionLog, text: str, state: str = "CONNECT", after_ms: int = 0) -> None:
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", CLIENT, f"{text} (after {after_ms}ms in state {state})")


def test_the_last_failure_is_the_reason_until_it_is_long_ago() -> None:
    clock = Clock()
    log = ConnectionLog(clock)
    assert log.explain("no broker answers") == "no broker answers"
    failed(log, "[thrd:b/1]: b/1: SASL authentication error: wrong", "AUTH_REQ", 12)
    failed(log, REFUSED)
    why = "10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
    assert log.explain("no broker answers") == f"no broker answers; {why}"
    clock.now = LATELY_SECONDS
    assert log.explain("no broker answers") == "no broker answers"


@pytest.mark.parametrize(
    ("address", "state", "hint"),
    [
        ("10.0.0.1:9092", "APIVERSION_QUERY", True),
        ("sasl_plaintext://10.0.0.1:9092", "APIVERSION_QUERY", True),
        ("sasl_ssl://10.0.0.1:9092", "APIVERSION_QUERY", False),
        ("10.0.0.1:9092", "UP", False),
    ],
)
def test_a_broker_that_hangs_up_on_plain_text_may_want_tls(address: str, state: str, hint: bool) -> None:
    log = ConnectionLog()
    failed(log, f"[thrd:{address}/1]: {address}/1: {HUNG_UP}", state)
    reason = f"{address}/1: {HUNG_UP}"
    assert log.explain("away") == f"away; {reason}" + (" (does the listener want TLS?)" if hint else "")


def test_the_same_reason_is_logged_now_and_then_and_all_else_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = ConnectionLog(clock)
    with caplog.at_level(logging.INFO, "millrace.kafka.librdkafka"):
        for attempt in range(50):
            failed(log, REFUSED, after_ms=attempt)
        failed(log, REFUSED.replace("10.0.0.1", "10.0.0.2"))
        for _ in range(2):
            log.log(logging.WARNING, "%s [%s] %s", "GETPID", CLIENT, "retrying")
        clock.now = LATELY_SECONDS
        failed(log, REFUSED)
    lines = [record.getMessage().partition(" (after")[0] for record in caplog.records]
    first, second = (f"FAIL [{CLIENT}] {text}" for text in (REFUSED, REFUSED.replace("10.0.0.1", "10.0.0.2")))
    assert lines == [first, second, *[f"GETPID [{CLIENT}] retrying"] * 2, first]
