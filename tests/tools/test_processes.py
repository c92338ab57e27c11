"""Children never outlive the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from devkit.processes import ChildDied, Children, ChildSpec, recorded
from devkit.waiting import wait_until

PARENT = """
import sys, signal
from pathlib import Path
from devkit.processes import Children, ChildSpec
folder = Path(sys.argv[1])
with Children(folder / "record.json") as children:
    for number in range(3):
        children.start(ChildSpec(name=f"sleeper-{number}", argv=["sleep", "600"], log_path=folder / "log"))
    print("started", flush=True)
    signal.pause()
"""


def sleeper(folder: Path, *argv: str) -> ChildSpec:
    return ChildSpec(name="sleeper", argv=argv or ("sleep", "600"), log_path=folder / "log")


def parent_with_children(folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    running = recorded(folder / "record.json")
    assert [name for name, _ in running] == ["supervisor", "sleeper-0", "sleeper-1", "sleeper-2"]
    return parent, [process for name, process in running if name != "supervisor"]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=str)
def test_children_die_with_their_parent(tmp_path: Path, sign: signal.Signals) -> None:
    parent, children = parent_with_children(tmp_path)
    parent.send_signal(sign)
    parent.wait(timeout=10)
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == []


def test_ctrl_c_in_the_terminal_reaches_the_parent_alone(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start(sleeper(tmp_path))
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    with Children() as children:
        started: list[psutil.Process] = []
        thread = threading.Thread(target=lambda: started.append(psutil.Process(children.start(sleeper(tmp_path)).pid)))
        thread.start()
        thread.join()
        with pytest.raises(psutil.TimeoutExpired):
            started[0].wait(timeout=0.2)


def test_leaving_the_context_stops_all_and_removes_the_record(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    with Children(record) as children:
        child = children.start(sleeper(tmp_path))
        assert record.exists()
    assert not child.alive
    assert not record.exists()


def test_a_child_that_ignores_sigterm_is_killed_with_what_is_below_it(tmp_path: Path) -> None:
    with Children() as children:
        stubborn = children.start(sleeper(tmp_path, "bash", "-c", "trap '' TERM; sleep 600 & echo ready; wait; wait"))
        wait_until((tmp_path / "log").read_text, what="the trap", timeout_seconds=5)  # type: ignore[arg-type]
        below = psutil.Process(stubborn.pid).children()
        assert stubborn.stop(timeout_seconds=0.1) == -signal.SIGKILL
        assert not any(process.is_running() for process in below)


def test_waiting_for_a_child_that_ended_fails_with_its_last_words(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start(sleeper(tmp_path, "sh", "-c", "echo no such setting; exit 3"))
        with pytest.raises(ChildDied, match="sleeper ended with 3:\nno such setting"):
            wait_until(child.check, what="never", timeout_seconds=5)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with Children() as children, pytest.raises(FileNotFoundError, match="no-such-program is not installed"):
        children.start(sleeper(tmp_path, "no-such-program"))


def test_a_condition_that_never_comes_says_what_was_seen() -> None:
    with pytest.raises(TimeoutError, match=r"the moon: not within 0.1 s. only clouds"):
        wait_until(lambda: False, what="the moon", timeout_seconds=0.1, seen=lambda: "only clouds")
