"""A service is put together from its settings, and from nothing the environment says behind their back."""

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.pipeline.consumer import PACE_SECONDS

_SAMPLED = """
from order_service.bootstrap import parts
from order_service.config import Config
from millrace.settings import load
from opentelemetry import trace
from shopkit.service import assemble
import os, sys
config = load(Config.read)
os.environ["OTEL_TRACES_SAMPLER_ARG"] = "0.5"
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = ""
assemble(config.common, parts(config))
tracer = trace.get_tracer("test")
recorded = [tracer.start_span("work").is_recording() for _ in range(100)]
print(sum(recorded), any(name.startswith("opentelemetry.exporter") for name in sys.modules), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("ratio", "endpoint"), [("0", ""), ("1", "http://127.0.0.1:1")])
def test_traces_are_sampled_and_sent_as_the_settings_say(tmp_path: Path, ratio: str, endpoint: str) -> None:
    environment = {
        "MILLRACE_STORE_URL": f"sqlite:///{tmp_path}/order.db",
        "MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MILLRACE_METRICS_ADDRESS": "127.0.0.1:0",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
    done = subprocess.run(
        [sys.executable, "-c", _SAMPLED], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == [str(100 * int(ratio)), str(bool(endpoint))], done.stderr


_PACE = """
import os
from millrace.settings import load
from shopkit.service import assemble
from {service}_service.config import read_config
from {service}_service import bootstrap
config = load(read_config)
print(assemble(config.common, bootstrap.parts({needs})).consumer.pace_seconds, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("service", "needs"), [("analytics", ""), ("notification", "bootstrap.mailer_of(config.smtp), config.contacts")]
)
def test_services_nobody_waits_for_keep_a_slower_pace(tmp_path: Path, service: str, needs: str) -> None:
    environment = {
        "MILLRACE_STORE_URL": f"sqlite:///{tmp_path}/store.db",
        "MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MILLRACE_METRICS_ADDRESS": "127.0.0.1:0",
    }
    script = _PACE.format(service=service, needs=needs)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > PACE_SECONDS
