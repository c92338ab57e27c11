"""The settings of the shipping service."""

import pytest

from millrace.settings import load
from shipping_service.config import read_config


def test_every_fault_is_reported_together(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MILLRACE_STORE_URL", raising=False)
    monkeypatch.setenv("SHIPPING_CARRIER_RULES", "[{]")
    monkeypatch.setenv("SHIPPING_DELIVERY_SECONDS", "-1")
    monkeypatch.setenv("SHIPPING_CARRIER_DELAY_MS", "soon")
    with pytest.raises(SystemExit) as end:
        load(read_config)
    assert end.value.code == 2
    told = capsys.readouterr().err
    for name in ("MILLRACE_STORE_URL", "SHIPPING_CARRIER_RULES", "SHIPPING_DELIVERY_SECONDS", "SHIPPING_CARRIER_DELAY_MS"):
        assert name in told
