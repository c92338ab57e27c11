"""The demo itself, on a real broker with all services: it shows every outcome, and leaves no process behind."""

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from shopkit.demo.scenarios import SCENARIOS

pytestmark = pytest.mark.servers


@contextmanager
def demo(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Give a running demo with a broker of its own; end it if the test did not."""
    environment = {**os.environ, "MILLRACE_RUN_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    environment.pop("MILLRACE_KAFKA_BOOTSTRAP", None)
    command = [sys.executable, "-m", "shopkit.demo"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def left_behind(folder: Path) -> list[str]:
    """Return the command lines of processes that name the demo's folder."""
    found = (each.info for each in psutil.process_iter(["cmdline", "environ", "pid"]) if each.pid != os.getpid())
    return [
        " ".join(info["cmdline"] or ())
        for info in found
        if str(folder) in " ".join(info["cmdline"] or ()) or str(folder) in (info["environ"] or {}).get("MILLRACE_RUN_DIR", "")
    ]


def test_the_demo_shows_every_outcome_and_stops_everything(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    for number, scenario in enumerate(SCENARIOS, start=1):
        assert f"{number}. {scenario.title}" in output
    for title in ("Orders", "Payments", "Stock", "Shipments", "Notifications", "Analytics"):
        assert f"\n{title}" in output
    assert f"all {len(SCENARIOS)} orders ended as they have to" in output
    assert re.search(r"first order finished [\d.]+ s after the start", output)
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("own_signals")
def test_an_interrupt_is_one_even_where_a_client_makes_another_error_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = importlib.import_module("shopkit.demo.__main__")

    def making_a_client(*_: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise TypeError("expected configuration property name as type unicode string") from None
        raise AssertionError("nothing came")

    monkeypatch.setattr(demo, "_demo", making_a_client)
    assert demo.main() == 130

    def at_fault(*_: object) -> int:
        raise TypeError("a bug")

    monkeypatch.setattr(demo, "_demo", at_fault)
    with pytest.raises(TypeError, match="a bug"):
        demo.main()


@pytest.mark.parametrize(
    ("moment", "signals"),
    [
        ("starting Kafka", [signal.SIGINT]),
        ("creating topics", [signal.SIGTERM]),
        ("serves at", [signal.SIGINT]),
        ("1. Happy path", [signal.SIGINT]),
        ("6. Customer cancels", [signal.SIGINT, signal.SIGINT]),
        ("stopping the services", [signal.SIGINT]),
    ],
)
def test_ctrl_c_at_any_moment_leaves_no_process(tmp_path: Path, moment: str, signals: list[signal.Signals]) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if moment in line:
                break
        for each in signals:
            process.send_signal(each)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == (0 if moment.startswith("stopping") else 130), seen + rest
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
