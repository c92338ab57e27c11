"""docs/guarantees.md names, for each promise, tests that there are."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/guarantees.md").read_text()
_TEST = re.compile(r"`(tests/[^`]+)`")
_NAMED = re.compile(r"tests/[\w/]+\.py(::\w+){1,2}")


def promises() -> list[tuple[str, list[str]]]:
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    return [(row[0].strip(), _TEST.findall(row[-1])) for row in rows if row[0].strip() != "promise"]


def test_every_promise_names_its_rule_and_a_test() -> None:
    assert len(promises()) > 30
    assert [promise for promise, tests in promises() if not tests or not all(map(_NAMED.fullmatch, tests))] == []
    assert all(len(line.strip("|").split("|")) == 3 for line in PAGE.splitlines() if line.startswith("| "))


def test_every_test_named_exists(missing_tests: Callable[[Iterable[str]], list[str]]) -> None:
    assert missing_tests(name for _, tests in promises() for name in tests) == []
