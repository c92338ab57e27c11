"""The settings of the payment service."""

import pytest

from millrace.settings import load
from payment_service.config import read_config


def test_every_fault_is_reported_together(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MILLRACE_STORE_URL", raising=False)
    monkeypatch.setenv("PAYMENT_GATEWAY_DELAY_MS", "soon")
    monkeypatch.setenv("PAYMENT_GATEWAY_RULES", '[{"then": "explode"}, 7]')
    monkeypatch.setenv("MILLRACE_DEVELOPMENT", "perhaps")
    with pytest.raises(SystemExit) as end:
        load(read_config)
    assert end.value.code == 2
    told = capsys.readouterr().err
    for name in ("MILLRACE_STORE_URL", "MILLRACE_KAFKA_BOOTSTRAP", "PAYMENT_GATEWAY_DELAY_MS", "MILLRACE_DEVELOPMENT"):
        assert name in told
    assert "[0].then must be one of approve, decline, delay, fail, time_out; [1] must be an object" in told
