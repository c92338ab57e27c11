"""Spans leave the process over OTLP: which ones, under which name, and what a collector that is away may cost."""

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pytest

from devkit.collector import TraceCollector
from devkit.workspace import free_port
from millrace.observability.traces import FLUSH_SECONDS

PROGRAM = """
import sys, time
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from millrace.observability.traces import configure_tracing
provider = configure_tracing("order-service", "1.2.3", endpoint=sys.argv[3], sample_ratio=float(sys.argv[4]))
tracer = provider.get_tracer("test")
parent = TraceContextTextMapPropagator().extract({"traceparent": sys.argv[2]})
begun = time.monotonic()
recorded = 0
for number in range(int(sys.argv[1])):
    with tracer.start_as_current_span(f"work {number}", parent) as span:
        recorded += span.is_recording()
worked = time.monotonic()
provider.shutdown()
print(recorded, worked - begun, time.monotonic() - worked)
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass(frozen=True)
class Ended:
    recorded: int
    worked_seconds: float
    shutdown_seconds: float


def run(endpoint: str, spans: int, *, ratio: float = 1.0, parent: str = "") -> Ended:
    """Make spans in a process of its own, from which nothing leaves before its shutdown but what fills a batch."""
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    program = [sys.executable, "-c", PROGRAM, str(spans), parent, endpoint, str(ratio)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=90)
    recorded, worked, shutdown = done.stdout.split()
    return Ended(int(recorded), float(worked), float(shutdown))


def test_shutdown_sends_what_is_left_under_the_services_name_and_version(trace_collector: TraceCollector) -> None:
    assert run(trace_collector.endpoint, 3).recorded == 3
    assert sorted(span.name for span in trace_collector.spans) == ["work 0", "work 1", "work 2"]
    assert {(span.service, span.version, span.parent_id) for span in trace_collector.spans} == {("order-service", "1.2.3", "")}
    assert len({span.trace_id for span in trace_collector.spans}) == 3


def test_of_new_traces_the_ratio_is_sent_and_nothing_else(trace_collector: TraceCollector) -> None:
    recorded = run(trace_collector.endpoint, 2000, ratio=0.25).recorded
    assert 400 <= recorded <= 600, "five standard deviations around 500"
    assert len(trace_collector.spans) == recorded


@pytest.mark.parametrize(("flags", "ratio", "arrive"), [("01", 0.0, 2), ("00", 1.0, 0)])
def test_a_callers_decision_counts_more_than_the_ratio(
    trace_collector: TraceCollector, flags: str, ratio: float, arrive: int
) -> None:
    run(trace_collector.endpoint, 2, ratio=ratio, parent=f"00-{TRACE}-b7ad6b7169203331-{flags}")
    arrived = Counter((span.trace_id, span.parent_id) for span in trace_collector.spans)
    assert arrived == Counter({(TRACE, "b7ad6b7169203331"): arrive} if arrive else {})


@pytest.fixture(params=["nobody listens", "accepts and never answers"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the endpoint of a collector that is away."""
    if request.param == "nobody listens":
        yield f"http://127.0.0.1:{free_port()}"
        return
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_a_collector_that_is_away_holds_up_neither_work_nor_end(away: str) -> None:
    begun = monotonic()
    ended = run(away, 3000)
    assert ended.recorded == 3000
    assert ended.worked_seconds < 4, "an export that is waited for takes seven"
    assert ended.shutdown_seconds < FLUSH_SECONDS + 3
    assert monotonic() - begun < FLUSH_SECONDS + 15, "nothing else keeps the process"
