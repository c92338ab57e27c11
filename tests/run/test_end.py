"""A service that cannot be prepared, or cannot tell what it waits for, ends, with all its threads, and says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.workspace import free_port

_PROGRAM = """
from dataclasses import replace
from millrace.run import run
from millrace.settings import load
from payment_service.bootstrap import parts
from payment_service.config import read_config
from shopkit.service import assemble

async def broken():
    raise ValueError("the seed is broken")

config = load(read_config)
run(replace(assemble(config.common, parts(config)), %s))
"""


@pytest.mark.parametrize("fault", ["prepare=broken", "awaited={'seed': broken}"])
def test_a_fault_while_preparing_or_waiting_ends_the_process_with_1(tmp_path: Path, fault: str) -> None:
    environment = {
        **os.environ,
        "MILLRACE_STORE_URL": f"sqlite:///{tmp_path}/payment.db",
        "MILLRACE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "MILLRACE_GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "MILLRACE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM % fault], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the seed is broken" in done.stderr
