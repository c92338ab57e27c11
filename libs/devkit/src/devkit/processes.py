"""Child processes that never outlive this one, however it ends.

`Children` starts them, each in a session of its own so that Ctrl-C reaches the parent alone, and stops them in reverse order. The
kernel sends each a signal when the parent dies (prctl PR_SET_PDEATHSIG, set by util-linux `setpriv`), also when that was SIGKILL.
That signal is tied to the thread that forked: one thread of `Children` forks them all, and lives as long as `Children` does.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil


class ChildDied(RuntimeError):
    """A process that should run has ended; the message ends with its last log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run: `env` is the whole environment (this process's own if None); `user` is (uid, gid) or None to stay."""

    name: str
    argv: Sequence[str]
    log_path: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: tuple[int, int] | None = None
    death_signal: signal.Signals = signal.SIGKILL


@dataclass(slots=True)
class Child:
    """One running process, and how to end it."""

    spec: ChildSpec
    process: subprocess.Popen[bytes]
    started_at: float = field(default=0.0)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None

    def check(self) -> bool:
        """Return False, or raise ChildDied with the end of its log if it has ended; for use while waiting for it."""
        if not self.alive:
            raise ChildDied(f"{self.spec.name} ended with {self.process.returncode}:\n{log_tail(self.spec.log_path)}")
        return False

    def stop(self, *, sign: signal.Signals = signal.SIGTERM, timeout_seconds: float = 30) -> int:
        """Send the signal, wait, and SIGKILL what is left; return the exit code."""
        if self.alive:
            self.process.send_signal(sign)
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL it and every process below it, and return once all are gone."""
        below: list[psutil.Process] = []
        try:
            below = psutil.Process(self.pid).children(recursive=True) if self.alive else []
        except psutil.NoSuchProcess:
            below = []
        self.process.kill()
        code = self.process.wait()
        for process in below:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(below, timeout=10)
        return code


class Children:
    """The processes started here; leaving the context stops them all, last first. Thread-safe."""

    def __init__(self, record: Path | None = None) -> None:
        """Keep a list of pids in the file `record`, for `devkit down`."""
        self._record = record
        self._lock = threading.Lock()
        self._children: list[Child] = []
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devkit-forker")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, spec: ChildSpec) -> Child:
        """Start a process and return at once. Raises FileNotFoundError if there is no such program."""
        if shutil.which(spec.argv[0]) is None:
            raise FileNotFoundError(f"{spec.argv[0]} is not installed")
        return self._forker.submit(self._fork, spec).result()

    def close(self) -> None:
        """Stop every child, last first, and return once all are gone."""
        with self._lock:
            children = [*self._children]
        try:
            for child in reversed(children):
                child.stop(timeout_seconds=10)
        finally:
            for child in reversed(children):
                child.kill()
            self._forker.shutdown()
            if self._record is not None:
                self._record.unlink(missing_ok=True)

    def _fork(self, spec: ChildSpec) -> Child:
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with spec.log_path.open("ab") as log:
            process = subprocess.Popen(
                [*_wrapper(spec), *spec.argv],
                env=spec.env,
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _wait_bound(process)
        child = Child(spec, process, _started_at(process.pid))
        with self._lock:
            self._children = [known for known in self._children if known.alive] + [child]
            self._write_record()
        return child

    def _write_record(self) -> None:
        if self._record is None:
            return
        rows = [{"name": child.spec.name, "pid": child.pid, "started_at": child.started_at} for child in self._children]
        rows.insert(0, {"name": "supervisor", "pid": os.getpid(), "started_at": _started_at(os.getpid())})
        scratch = self._record.with_suffix(".new")
        scratch.write_text(json.dumps(rows, indent=1))
        scratch.replace(self._record)


def recorded(record: Path) -> list[tuple[str, psutil.Process]]:
    """Return name and process of each entry of a record that still runs; a pid given to another process since is left out."""
    if not record.exists():
        return []
    found: list[tuple[str, psutil.Process]] = []
    for row in json.loads(record.read_text()):
        try:
            process = psutil.Process(row["pid"])
            same = abs(process.create_time() - row["started_at"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        if same:
            found.append((row["name"], process))
    return found


def log_tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a log file."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _wait_bound(process: "subprocess.Popen[bytes]") -> None:
    """Return once the wrapper has become the program: until then the child would outlive a parent that is killed now."""
    give_up_at = time.monotonic() + 5
    program = Path(f"/proc/{process.pid}/exe")  # not `comm`, which the kernel sets only after Popen has returned
    with suppress(OSError):
        while process.poll() is None and program.readlink().name == "setpriv":
            if time.monotonic() > give_up_at:
                return
            time.sleep(0.001)


def _wrapper(spec: ChildSpec) -> list[str]:
    setpriv = shutil.which("setpriv") or shutil.which("setpriv", path="/usr/bin:/bin")
    if setpriv is None:
        raise FileNotFoundError("setpriv is not installed (package util-linux); without it children could outlive their parent")
    words = [setpriv, "--pdeathsig", spec.death_signal.name.removeprefix("SIG")]
    if spec.user is not None:
        words += ["--reuid", str(spec.user[0]), "--regid", str(spec.user[1]), "--clear-groups"]
    return [*words, "--"]


def _started_at(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
