"""`/metrics` and `/health` over HTTP."""

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Counter

from millrace.observability.health import Health
from millrace.observability.metrics import MetricsServer


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def server(registry: CollectorRegistry, health: Health) -> Iterator[MetricsServer]:
    made = MetricsServer("127.0.0.1:0", registry, health)
    yield made
    made.close()


def get(server: MetricsServer, path: str) -> tuple[int, bytes]:
    try:
        with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except HTTPError as refused:
        return refused.code, refused.read()


def test_metrics_are_those_of_the_registry(server: MetricsServer, registry: CollectorRegistry) -> None:
    Counter("things", "Things seen", registry=registry).inc(3)
    status, body = get(server, "/metrics")
    assert status == 200
    assert b"things_total 3.0" in body


def test_health_says_what_is_missing(server: MetricsServer, health: Health) -> None:
    health.report("store", True)
    assert get(server, "/health")[0] == 200
    health.report("kafka", False, "all brokers down")
    status, body = get(server, "/health")
    assert status == 503
    assert json.loads(body) == {
        "ok": False,
        "parts": {"kafka": {"ok": False, "reason": "all brokers down"}, "store": {"ok": True, "reason": ""}},
    }
    health.report("kafka", True)
    assert get(server, "/health")[0] == 200


def test_other_paths_are_not_found(server: MetricsServer) -> None:
    assert get(server, "/nothing")[0] == 404
