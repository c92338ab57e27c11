"""A store of each kind, and relays that are stopped at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.clock import utc_now
from millrace.kafka.config import KafkaConfig
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.relay import Relay
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.contract import Store
from millrace.store.open import open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
    store = open_store(url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def new_relay() -> Iterator[Callable[..., Relay]]:
    relays: list[Relay] = []

    def make(
        store: Store,
        bootstrap: str,
        *,
        sweep_seconds: float = 0.2,
        timeout: float = 10.0,
        health: Health | None = None,
        **config: Any,
    ) -> Relay:
        """Start a relay; `timeout` is that of a message, in seconds, `config` what else its RelayConfig is to have."""
        kafka = KafkaConfig(bootstrap, message_timeout_seconds=timeout)
        relay = Relay(RelayConfig(sweep_seconds, **config), kafka, store, health or Health(), PipelineMetrics("test"), utc_now)
        relays.append(relay)
        relay.start()
        return relay

    yield make
    for relay in relays:
        relay.stop()
