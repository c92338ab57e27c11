"""The shipping service on a store in memory, and its settings from a given environment."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from millrace.settings import Environment
from shipping_service.bootstrap import parts
from shipping_service.config import Config, read_config
from shopkit.testing.decider import Decider


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Config]:
    def read(**variables: str) -> Config:
        given = {
            "MILLRACE_STORE_URL": f"sqlite:///{tmp_path}/shipping.db",
            "MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            **variables,
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        environment = Environment()
        settings = read_config(environment)
        assert environment.faults() == []
        return settings

    return read


@pytest.fixture
def shipments(config: Callable[..., Config]) -> Iterator[Decider]:
    decider = Decider(parts(config(), metrics=CollectorRegistry()))
    yield decider
    decider.store.close()
