"""Asks pytest which tests there are, for pages and patches that name some."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def missing_tests() -> Callable[[Iterable[str]], list[str]]:
    """Give what returns those of some names (`file::test`, with or without parameters) that no test has."""

    def missing(names: Iterable[str]) -> list[str]:
        wanted = set(names)
        files = sorted({name.partition("::")[0] for name in wanted})
        there = [file for file in files if (ROOT / file).is_file()]
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *there]
        collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert collected.returncode == 0, collected.stdout[-2000:] + collected.stderr
        found = {line for line in collected.stdout.splitlines() if "::" in line}
        found |= {line.partition("[")[0] for line in found}
        return sorted(wanted - found)

    return missing
