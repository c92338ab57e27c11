"""What the README shows is what there is."""

import re
from pathlib import Path

from typer.testing import CliRunner

from millrace.cli.app import load_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_first_handler_is_taken_from_the_example() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert snippet.strip() in (ROOT / "examples" / "first_handler.py").read_text()


def test_every_command_it_names_exists() -> None:
    app = load_app()
    named = set(re.findall(r"^\$? ?millrace ([a-z]+) ([a-z]+)", README, re.MULTILINE))
    assert len(named) > 5
    for group, command in named:
        assert CliRunner().invoke(app, [group, command, "--help"]).exit_code == 0, (group, command)


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)\b(?!-)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for benchmark in set(re.findall(r"\bmake bench-([a-z]+)\b", README)):
        assert (ROOT / "benchmarks" / f"{benchmark}.py").exists(), benchmark


def test_every_file_it_links_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
