"""Where figures go: printed, and written to `benchmarks/results/<name>.json`, which is not committed."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

FOLDER = Path(__file__).parent / "results"


def report(name: str, figures: Mapping[str, float | int | str]) -> None:
    """Print the figures and write them with the commit and the machine they came from."""
    for figure, value in figures.items():
        print(f"  {figure:32} {value}")
    FOLDER.mkdir(exist_ok=True)
    document = {"name": name, "commit": _commit(), "machine": _machine(), "figures": dict(figures)}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "HEAD") + ("-changed" if git("status", "--porcelain", "--untracked-files=no") else "")


def _machine() -> dict[str, str | int]:
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "processor": _processor(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
