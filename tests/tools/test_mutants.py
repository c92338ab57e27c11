"""Every rule that `make mutants` breaks can be broken, and by tests that exist; and the tool tells a rule nobody tests."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RULE = "def allowed(amount):\n    return amount > 0\n"
TESTS = "from shop_rule import allowed\n\n\ndef test_some(): assert allowed(1)\n\n\ndef test_none(): assert not allowed(0)\n"
PATCH = """Rule: nothing is not allowed
Test: test_rule.py::{test}

--- a/tools/shop_rule.py
+++ b/tools/shop_rule.py
@@ -1,2 +1,2 @@
 def allowed(amount):
-    return amount > 0
+    return amount >= 0
"""


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return import_module("mutants")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/shop_rule.py").write_text(RULE)
    (tmp_path / "test_rule.py").write_text(TESTS)
    return tmp_path


def patch(mutants: Any, tree: Path, test: str) -> Any:
    path = tree / "rule.patch"
    path.write_text(PATCH.format(test=test))
    return mutants.read(path)


def test_every_patch_still_applies(mutants: Any) -> None:
    faults = {mutant.name: mutants.apply(mutant, ROOT, "--check") for mutant in mutants.read_all()}
    assert {name: fault for name, fault in faults.items() if fault} == {}
    assert len(faults) > 50


def test_every_test_that_must_fail_exists(mutants: Any, missing_tests: Callable[[Iterable[str]], list[str]]) -> None:
    assert missing_tests(test for mutant in mutants.read_all() for test in mutant.tests) == []


def test_a_rule_whose_test_fails_without_it_is_in_order_and_the_tree_is_as_before(mutants: Any, tree: Path) -> None:
    assert mutants.judge(patch(mutants, tree, "test_none"), tree, {}) == ""
    assert (tree / "tools/shop_rule.py").read_text() == RULE


def test_a_rule_that_can_be_broken_unnoticed_is_told_of(mutants: Any, tree: Path) -> None:
    assert mutants.judge(patch(mutants, tree, "test_some"), tree, {}) == "survived: every test passed"


def test_one_of_several_tests_that_passes_is_told_of(mutants: Any, tree: Path) -> None:
    mutant = patch(mutants, tree, "test_none\nTest: test_rule.py::test_some")
    assert mutants.judge(mutant, tree, {}) == "survived: test_rule.py::test_some passed"


def test_a_test_that_cannot_run_proves_nothing(mutants: Any, tree: Path) -> None:
    assert mutants.judge(patch(mutants, tree, "test_gone"), tree, {}).startswith("no verdict")


def test_a_patch_that_no_longer_applies_is_told_of(mutants: Any, tree: Path) -> None:
    (tree / "tools/shop_rule.py").write_text(RULE.replace("> 0", ">= 1"))
    assert mutants.judge(patch(mutants, tree, "test_none"), tree, {}).startswith("does not apply")


def test_a_patch_that_names_no_test_is_refused(mutants: Any, tmp_path: Path) -> None:
    path = tmp_path / "rule.patch"
    path.write_text(PATCH.replace("Test: ", "Tests: "))
    with pytest.raises(ValueError, match=r"rule\.patch"):
        mutants.read(path)
