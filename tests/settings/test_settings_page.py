"""docs/settings.md lists exactly the environment variables that anything here reads, with their defaults."""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from millrace.settings import Environment
from shopkit.clients import read_addresses

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
SERVICES = ("order", "payment", "inventory", "shipping", "notification", "analytics")
BY_SERVICE = ("MILLRACE_GRPC_ADDRESS", "MILLRACE_METRICS_ADDRESS", "MILLRACE_INSTANCE")
_READ = re.compile(r'os\.(?:environ\.get|getenv)\(\s*"(\w+)"(?:,\s*"([^"]*)")?|os\.environ\["(\w+)"\]')
_HARMLESS = re.compile(r"\*\*os\.environ|patch\.dict\(os\.environ,|(?:read_addresses|known_stores)\(os\.environ\)")
_SHELL = re.compile(r"\$\{([A-Z][A-Z_]+):-([^}]*)\}")


class Recorded(Environment):
    """An environment that notes each variable it is asked for, and its default: `...` where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, Any] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if (
            name.startswith("_")
            or not inspect.ismethod(found)
            or "default" not in (signature := inspect.signature(found)).parameters
        ):
            return found

        @wraps(found)
        def reading(*args: Any, **options: Any) -> Any:
            given = signature.bind(*args, **options)
            given.apply_defaults()
            self.read[given.arguments["name"]] = given.arguments["default"]
            return found(*args, **options)

        return reading


@pytest.fixture
def read_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mapping[str, dict[str, Any]]:
    """Give what each service reads, with defaults."""
    monkeypatch.setenv("MILLRACE_STORE_URL", f"sqlite:///{tmp_path}/x.db")
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    found = {}
    for service in SERVICES:
        config, environment = import_module(f"{service}_service.config"), Recorded()
        read = getattr(config, "read_config", None) or config.Config.read
        read(environment)
        assert environment.faults() == []
        found[service] = environment.read
    return found


def sources(*endings: str) -> Iterator[Path]:
    for folder in ("libs", "services", "tools", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in endings and ".venv" not in path.parts:
                yield path


def elsewhere() -> dict[str, str]:
    """Return what is read past `Environment`: by tools, tests, benchmarks and the command line."""
    found = {}
    for path in sources(".py"):
        text = _HARMLESS.sub("", path.read_text())
        reads = _READ.findall(text)
        assert text.count("os.environ") + text.count("os.getenv") == len(reads), (
            f"{path} reads the environment in a way not known here"
        )
        found.update({name or other: default for name, default, other in reads})
    for path in (*sources(""), ROOT / "Makefile"):
        found.update(_SHELL.findall(path.read_text()))
    asked: dict[str, str] = {}

    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked[name] = ""
            return default

    addresses = read_addresses(Asked())
    return found | dict(zip(asked, addresses.values(), strict=True))


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]


def documented() -> dict[str, str]:
    """Return each variable of the page and its default as text."""
    found: dict[str, str] = {}
    for cell, meaning, unit, default in rows(PAGE):
        name = cell.strip("`")
        assert meaning, name
        assert unit, name
        assert name not in found, f"{name} is there twice"
        block = re.search(rf"### {name}\n\n```json\n(.*?)```", PAGE, re.DOTALL)
        found[name] = block[1] if default == "below" and block else default
    return found


def written(default: Any) -> str:
    """Return a default as the page has it."""
    if default is ...:
        return "required"
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "none"


def test_the_page_lists_what_is_read_and_nothing_else(read_by: Mapping[str, dict[str, Any]]) -> None:
    of_services = {name for read in read_by.values() for name in read}
    assert sorted(documented()) == sorted(of_services | elsewhere().keys())


def test_the_page_gives_the_defaults(read_by: Mapping[str, dict[str, Any]]) -> None:
    page, defaults = documented(), defaultdict[str, set[Any]](set)
    for read in read_by.values():
        for name, default in read.items():
            defaults[name].add(default)
    for name, found in defaults.items():
        if name in BY_SERVICE:
            assert page[name] == "by service"
            continue
        (default,) = found
        if page[name].lstrip().startswith("["):
            assert json.loads(page[name]) == json.loads(default), name
        else:
            assert page[name] == written(default), name
    for name, text in elsewhere().items():
        if name not in defaults:
            assert page[name] == written(text), name


def test_the_page_gives_what_differs_by_service(read_by: Mapping[str, dict[str, Any]]) -> None:
    for service, read in read_by.items():
        assert f"| {service} | {' | '.join(f'`{read[name]}`' for name in BY_SERVICE)} |" in PAGE


def test_each_variable_is_under_the_service_that_reads_it(read_by: Mapping[str, dict[str, Any]]) -> None:
    everywhere = set.intersection(*(set(read) for read in read_by.values()))
    for service, read in read_by.items():
        section = PAGE.partition(f"\n## {service.capitalize()}\n")[2].partition("\n## ")[0]
        assert {name.strip("`") for name, *_ in rows(section)} == read.keys() - everywhere, service
