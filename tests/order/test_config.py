"""The settings of the order service."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from millrace.settings import load
from order_service.config import Config


def test_every_fault_is_reported_together(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faulty = {
        "MILLRACE_KAFKA_BOOTSTRAP": "nowhere",
        "MILLRACE_GRPC_ADDRESS": "everywhere",
        "ORDER_SAGA_ANSWER_SECONDS": "soon",
        "ORDER_SAGA_ATTEMPTS": "0",
        "ORDER_SAGA_SHIPPING_SECONDS": "-1",
    }
    monkeypatch.delenv("MILLRACE_STORE_URL", raising=False)
    for name, value in faulty.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        load(Config.read)
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert [name for name in (*faulty, "MILLRACE_STORE_URL") if name not in told] == []


def test_the_saga_waits_as_long_as_it_is_told(config: Callable[..., Config]) -> None:
    timing = config(ORDER_SAGA_ANSWER_SECONDS="0.5", ORDER_SAGA_ATTEMPTS="2", ORDER_SAGA_SHIPPING_SECONDS="7").timing
    assert (timing.answer_within, timing.attempts) == (timedelta(seconds=0.5), 2)
    assert timing.shipping_within == timedelta(seconds=7)
