"""Breaks the rules of the pipeline one at a time, and checks that the tests named for each then fail. Called by `make mutants`.

Every file tests/mutants/*.patch disables one rule. Its header names the rule (`Rule:`) and the tests that must fail without it (`Test:`,
a line each); the unified diff follows. Patches are applied to a copy of the working tree, which the tests import instead of the tree
itself. Ends with 1 where a patch no longer applies, a rule was broken unnoticed, or a named test fails without being broken.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from devkit.kafka import KafkaBroker
from devkit.postgres import PostgresServer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests/mutants"
_SECONDS, _BROKEN_SECONDS = 120, 25
"""How long a test may take as things are, and with a rule broken: one that hangs then has failed."""

_ALL_SECONDS = 600
"""How long pytest may take in all: a test that failed may leave a thread behind that never ends."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule, the patch that breaks it, and the tests that must fail then."""

    path: Path
    rule: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the patch's name, which is what the rule is called by."""
        return self.path.stem


def read(path: Path) -> Mutant:
    """Return the mutant of a patch. Raises ValueError where its header names no rule or no test."""
    header = path.read_text().partition("\n--- ")[0].splitlines()
    rules = [line.removeprefix("Rule: ") for line in header if line.startswith("Rule: ")]
    tests = tuple(line.removeprefix("Test: ") for line in header if line.startswith("Test: "))
    if len(rules) != 1 or not tests:
        raise ValueError(f"{path.name}: the header needs one line `Rule: ...` and at least one `Test: ...`")
    return Mutant(path, rules[0], tests)


def read_all(folder: Path = FOLDER) -> list[Mutant]:
    """Return every mutant there is, by name."""
    return [read(path) for path in sorted(folder.glob("*.patch"))]


def apply(mutant: Mutant, tree: Path, *options: str) -> str:
    """Apply a mutant to a tree, with options of `git apply`; return what was wrong, or nothing."""
    done = subprocess.run(["git", "apply", *options, str(mutant.path)], cwd=tree, capture_output=True, text=True, check=False)
    return done.stderr.strip()


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Give a copy of the working tree: what is committed, changed and new, and not what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="millrace-mutant-") as name:
        for file in filter(None, listed.stdout.split("\0")):
            if (ROOT / file).is_file():
                (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, Path(name) / file)
        yield Path(name)


def run_tests(tree: Path, tests: Sequence[str], servers: dict[str, str], seconds: int) -> tuple[int, str]:
    """Run tests on a tree; return pytest's exit code and its lines."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = [str(tree / folder) for folder in settings["tool"]["mypy"]["mypy_path"]]
    env = {**os.environ, **servers, "PYTHONPATH": os.pathsep.join(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-p", "no:xdist", "-p", "no:cacheprovider", "-q", "--tb=no", "-rfE", f"--timeout={seconds}"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=_ALL_SECONDS)
    except subprocess.TimeoutExpired:
        return -1, f"its tests left something that runs after {_ALL_SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def judge(mutant: Mutant, tree: Path, servers: dict[str, str]) -> str:
    """Return what is wrong with a mutant, or nothing if every test named fails without its rule."""
    if fault := apply(mutant, tree):
        return f"does not apply: {fault.splitlines()[0]}"
    try:
        code, lines = run_tests(tree, mutant.tests, servers, _BROKEN_SECONDS)
    finally:
        apply(mutant, tree, "--reverse")
    if code == 0:
        return "survived: every test passed"
    failed = [line.removeprefix("FAILED ") for line in lines.splitlines() if line.startswith("FAILED ")]
    if code != 1 or any(line.startswith("ERROR ") for line in lines.splitlines()):
        return "no verdict, its tests could not run: " + " ".join(lines.splitlines()[-1:])
    passed = [test for test in mutant.tests if not any(name.startswith(test) for name in failed)]
    return f"survived: {', '.join(passed)} passed" if passed else ""


def check(mutants: Sequence[Mutant], trees: Sequence[Path], servers: dict[str, str]) -> int:
    """Judge every mutant, as many at a time as there are trees; print a table, and return how many are at fault."""
    free: SimpleQueue[Path] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(mutant: Mutant) -> str:
        tree, begun = free.get(), time.monotonic()
        try:
            fault = judge(mutant, tree, servers)
        finally:
            free.put(tree)
        print(
            f"{'FAULT' if fault else 'ok':5}  {time.monotonic() - begun:5.1f} s  {mutant.name:40}  {fault or mutant.rule}",
            flush=True,
        )
        return fault

    with ThreadPoolExecutor(len(trees)) as threads:
        return sum(bool(fault) for fault in threads.map(one, mutants))


def main() -> int:
    """Check the mutants named, or all."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("names", nargs="*", help="names of patches in tests/mutants; all if none is given")
    given = words.parse_args()
    mutants = [mutant for mutant in read_all() if not given.names or mutant.name in given.names]
    if unknown := set(given.names) - {mutant.name for mutant in mutants}:
        words.error(f"no such mutant: {', '.join(sorted(unknown))}")
    with copied_tree() as first, copied_tree() as second, KafkaBroker() as kafka, PostgresServer() as postgres:
        servers = {"MILLRACE_KAFKA_BOOTSTRAP": kafka.bootstrap, "MILLRACE_POSTGRES_URL": postgres.url}
        code, lines = run_tests(first, sorted({test for mutant in mutants for test in mutant.tests}), servers, _SECONDS)
        if code != 0:
            print(lines)
            print("tests fail without any rule being broken, so their failing proves nothing")
            return 1
        faults = check(mutants, [first, second], servers)
    print(f"{len(mutants)} rules broken, one at a time; {faults} at fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
