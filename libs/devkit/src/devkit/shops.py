"""Shops for tests: as many as a test starts, and what their services had to say in the report of a test that failed."""

import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from devkit.stack import Stack, StackSettings

_LINES = 60


class Shops:
    """Starts shops, each with a broker of its own; `running` are those so far. Whoever owns `exits` stops them."""

    def __init__(self, folder: Path, postgres_url: Callable[[], str], exits: ExitStack) -> None:
        self.running: list[Stack] = []
        self._folder = folder
        self._postgres_url = postgres_url
        self._exits = exits

    def __call__(self, **settings: object) -> Stack:
        """Start one; with PostgreSQL its databases are made on the given server."""
        if settings.get("store") == "postgresql":
            settings.setdefault("postgres_url", self._postgres_url())
        settings.setdefault("folder", self._folder / f"stack-{secrets.token_hex(3)}")
        stack = Stack(StackSettings(**settings))  # type: ignore[arg-type]
        self.running.append(stack)
        return self._exits.enter_context(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, where a test failed, the last lines above INFO of each service of its shops: their folders are gone when a person looks."""
    report = yield
    if report.failed:
        for stack in _stacks(getattr(item, "funcargs", {})):
            for instance in stack.instances:
                report.sections.append((f"log of {instance.name}", _what_matters(instance.log_path)))
    return report


def _what_matters(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in lines if '"log.level":"info"' not in line][-_LINES:])


def _stacks(fixtures: Mapping[str, object]) -> Iterable[Stack]:
    """Return the shops that fixtures are, hold as `stack`, or started as `running`."""
    found: dict[int, Stack] = {}
    for fixture in fixtures.values():
        running = fixture.running if isinstance(fixture, Shops) else []
        for value in (fixture, getattr(fixture, "stack", None), *running):
            if isinstance(value, Stack):
                found[id(value)] = value
    return found.values()
