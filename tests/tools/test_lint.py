"""The linters read every Python file there is."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mypy_reads_every_folder_with_python() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(path.name for path in folders if any(path.rglob("*.py"))) == sorted(settings["tool"]["mypy"]["files"])
