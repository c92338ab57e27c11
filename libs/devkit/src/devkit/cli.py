"""`devkit up`, `devkit down` and `devkit jars`: the shop kept running in the background, by a supervisor process of its own.

The supervisor is the parent of everything; whatever ends it ends all. `down` stops it and proves that nothing recorded still runs.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import psutil

from devkit.kafka_jars import kafka_jars
from devkit.processes import Children, log_tail, recorded
from devkit.waiting import wait_until
from devkit.workspace import run_dir

_READY = "the shop is up"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="devkit", description="Run the shop in the background.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start Kafka and the services, and return once they serve"),
        ("supervise", "the same, in this process"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
        command.add_argument("--free-ports", action="store_true", help="take any free ports, not the documented ones")
    commands.add_parser("down", help="stop everything `up` started")
    commands.add_parser("jars", help="fetch the broker's jars into the cache")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "up":
                return _up(options.store, free_ports=options.free_ports)
            case "supervise":
                return _supervise(options.store, free_ports=options.free_ports)
            case "down":
                return _down()
            case _:
                print(kafka_jars())
                return 0
    except KeyboardInterrupt:
        return 130


def _folder() -> Path:
    folder = run_dir() / "up"
    folder.mkdir(exist_ok=True)
    return folder


def _up(store: str, *, free_ports: bool) -> int:
    folder = _folder()
    record, log = folder / "processes.json", folder / "supervisor.log"
    if recorded(record):
        print("the shop is already up; `make down` stops it")
        return 0
    with log.open("wb") as output:
        words = [sys.executable, "-m", "devkit.cli", "supervise", "--store", store, *(["--free-ports"] if free_ports else [])]
        supervisor = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        return _follow(supervisor, log)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise


def _follow(supervisor: subprocess.Popen[bytes], log: Path) -> int:
    """Print the supervisor's lines until it is ready (0) or has ended (1)."""
    with log.open() as lines:
        while True:
            line = lines.readline()
            if line:
                print(line, end="", flush=True)
            if line.strip() == _READY:
                return 0
            if not line and supervisor.poll() is not None:
                print(f"the shop did not start; logs are in {log.parent}", file=sys.stderr)
                return 1
            if not line:
                time.sleep(0.05)


def _supervise(store: str, *, free_ports: bool) -> int:
    # `down` must work while the services' code is broken.
    from devkit.kafka_access import given_kafka  # noqa: PLC0415
    from devkit.stack import CANNOT_START, Stack, StackSettings  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _interrupt)
    folder = _folder()
    settings = StackSettings(
        folder=folder,
        store="postgresql" if store == "postgresql" else "sqlite",
        kafka=given_kafka(),
        postgres_url=os.environ.get("MILLRACE_POSTGRES_URL"),
        fixed_ports=not free_ports,
        kafka_port=None if free_ports else 9092,
    )

    def say(line: str) -> None:
        print(line, flush=True)

    with Children(folder / "processes.json") as children:
        try:
            with Stack(settings, children=children, say=say):
                say(f"logs: {folder}")
                say(_READY)
                while True:
                    signal.pause()
        except CANNOT_START as error:
            say(str(error))
            return 1


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _down() -> int:
    folder = _folder()
    running = recorded(folder / "processes.json")
    if not running:
        print("the shop is not up")
        return 0
    name, supervisor = running[0]
    if name == "supervisor":
        supervisor.terminate()
    _, left = psutil.wait_procs([process for _, process in running], timeout=40)
    for process in left:
        process.kill()
    wait_until(lambda: not any(process.is_running() for process in left), what="every process gone", timeout_seconds=10)
    (folder / "processes.json").unlink(missing_ok=True)
    if left:
        print(
            f"killed what did not stop: {', '.join(str(process.pid) for process in left)}\n{log_tail(folder / 'supervisor.log')}"
        )
    print(f"the shop is down: {len(running)} processes stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
