"""A running service shows what waits in its store, also while it has no broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devkit.outbox import add, row
from devkit.workspace import free_port
from millrace.store.open import open_store
from millrace.testing.waiting import eventually


@pytest.fixture
def metrics_url(tmp_path: Path) -> Iterator[str]:
    """Run the payment service over a store with three messages in its outbox; give the address of its metrics."""
    store = open_store(url := f"sqlite:///{tmp_path}/payment.db")
    store.migrate()
    add(store, *(row("t", "k", number) for number in range(3)))
    store.close()
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "MILLRACE_STORE_URL": url,
        "MILLRACE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "MILLRACE_GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "MILLRACE_METRICS_ADDRESS": address,
    }
    service = subprocess.Popen([sys.executable, "-m", "payment_service"], env=environment)
    yield f"http://{address}/metrics"
    service.terminate()
    service.wait(60)


def test_a_service_shows_its_backlog_and_its_limit(metrics_url: str) -> None:
    found: dict[str, float] = {}

    def there() -> bool:
        try:
            with urlopen(metrics_url, timeout=5) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
        except URLError:
            return False
        mine = [sample for family in families for sample in family.samples if sample.labels.get("group") == "payment-service"]
        found.update({sample.name: sample.value for sample in mine})
        return found.get("millrace_outbox_messages") == 3

    eventually(there, 60, lambda: found)
    assert found["millrace_outbox_oldest_seconds"] > 0
    assert found["millrace_effects_pending"] == 0
    assert found["millrace_parked_messages_limit"] == 100_000
