"""Starts a shop of its own, shows it, and stops everything it started, also on Ctrl-C."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
from rich.console import Console
from rich.status import Status
from rich.text import Text

from devkit.kafka_access import given_kafka
from devkit.services import SERVICES
from devkit.stack import CANNOT_START, Stack, StackSettings
from devkit.workspace import run_dir
from millrace.cli.output import console as open_console
from millrace.cli.running import INTERRUPTED
from millrace.kafka import KafkaConfig
from shopkit.clients import Shop
from shopkit.demo.show import show_once

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo. Exit codes: 0 all as it has to be, 1 not so, 2 settings of no use, 130 interrupted."""
    kafka = given_kafka()
    interrupt = _Interrupt()
    for each in _SIGNALS:
        signal.signal(each, interrupt)
    console = open_console()
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="demo-", dir=run_dir()))
        code = _demo(folder, kafka, console)
    except (KeyboardInterrupt, TypeError):
        if not interrupt.came:
            raise
        code = INTERRUPTED
        console.print("interrupted: everything that was started is stopped")
    except SystemExit:
        # rich ends a program whose output nobody reads any more, such as `make demo | head`.
        code = INTERRUPTED
    except CANNOT_START as error:
        code = 1
        console.print(Text(f"error: the shop did not start: {error}", style="red"), soft_wrap=True)
    if folder is not None and code == 1:
        console.print(f"logs: {folder}", soft_wrap=True)
    elif folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _demo(folder: Path, kafka: KafkaConfig | None, console: Console) -> int:
    settings = StackSettings(folder=folder, kafka=kafka, env={"payment": {"MILLRACE_DEVELOPMENT": "1"}})
    with _running(settings, console) as stack:
        shop = Shop({name: stack.address(name) for name in SERVICES}, hint=f"its log is in {folder}")
        return show_once(shop, console, _elapsed_seconds)


@contextmanager
def _running(settings: StackSettings, console: Console) -> Iterator[Stack]:
    """Give a running shop, and stop it whatever happens; while it stops, a second Ctrl-C changes nothing."""
    with console.status("starting") as status:
        say = _teller(console, status)
        stack = Stack(settings, say=say)
        try:
            stack.start()
            status.stop()
            yield stack
        finally:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_IGN)
            try:
                status.start()
                say("stopping the services and Kafka")
            finally:
                stack.close()
            say("everything is stopped")


def _teller(console: Console, status: Status) -> Callable[[str], None]:
    def say(line: str) -> None:
        console.print(Text.assemble((f"{_elapsed_seconds():5.1f} s  ", "dim"), line))
        status.update(line)

    return say


def _elapsed_seconds() -> float:
    """Return the seconds since this process began, the interpreter's own start among them."""
    return time.time() - psutil.Process().create_time()


class _Interrupt:
    """Raises KeyboardInterrupt, and remembers it: confluent-kafka, while it makes a client, turns that into a TypeError."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, _signal: int, _frame: object) -> NoReturn:
        self.came = True
        raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
