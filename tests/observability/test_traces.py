"""The tracer provider samples what it is told to, and loads no more than it needs."""

import subprocess
import sys

import pytest

from millrace.observability.traces import configure_tracing

_WHAT_IS_LOADED = """
import sys
from millrace.observability.traces import configure_tracing
provider = configure_tracing("order", "1", sample_ratio=%s)
with provider.get_tracer("t").start_as_current_span("s") as span:
    print(span.is_recording(), any(name.startswith("opentelemetry.exporter") for name in sys.modules))
provider.shutdown()
"""


@pytest.mark.parametrize(("ratio", "recording"), [("0", "False"), ("1", "True"), ("1.0", "True")])
def test_the_ratio_decides_new_traces_and_no_exporter_is_loaded_without_an_endpoint(ratio: str, recording: str) -> None:
    done = subprocess.run([sys.executable, "-c", _WHAT_IS_LOADED % ratio], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [recording, "False"]


@pytest.mark.parametrize("ratio", [2.0, -0.1, float("nan")])
def test_a_ratio_that_is_none_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError):
        configure_tracing("order", "1", sample_ratio=ratio)
