"""The tracer provider is made from the environment."""

import subprocess
import sys

import pytest

from millrace.errors import Invalid
from millrace.observability.traces import configure_tracing

_WHAT_IS_LOADED = """
import sys
from millrace.observability.traces import configure_tracing
provider = configure_tracing("order", "1", {"OTEL_TRACES_SAMPLER_ARG": "%s"})
with provider.get_tracer("t").start_as_current_span("s") as span:
    print(span.is_recording(), any(name.startswith("opentelemetry.exporter") for name in sys.modules))
provider.shutdown()
"""


@pytest.mark.parametrize(("ratio", "recording"), [("0", "False"), ("1", "True"), ("1.0", "True")])
def test_the_ratio_decides_new_traces_and_no_exporter_is_loaded_without_an_endpoint(ratio: str, recording: str) -> None:
    done = subprocess.run([sys.executable, "-c", _WHAT_IS_LOADED % ratio], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [recording, "False"]


@pytest.mark.parametrize("ratio", ["2", "-0.1", "often", "nan"])
def test_a_ratio_that_is_none_is_refused(ratio: str) -> None:
    with pytest.raises(Invalid, match="OTEL_TRACES_SAMPLER_ARG"):
        configure_tracing("order", "1", {"OTEL_TRACES_SAMPLER_ARG": ratio})
