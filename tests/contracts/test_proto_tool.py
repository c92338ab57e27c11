"""tools/proto.py on a copy of the contract that a change has gone wrong in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MONEY = "proto/shop/types/v1/money.proto"
COPIED = ("proto", "tools", "docs", "libs/contracts/src", "libs/millrace/src/millrace/v1")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of everything the tool reads and writes."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "kafka"))
    return tmp_path


def run(copy: Path, *arguments: str) -> tuple[int, str]:
    """Run the copy's tool and return its exit code and all it said."""
    done = subprocess.run([sys.executable, str(copy / "tools/proto.py"), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def change(copy: Path, old: str, new: str) -> None:
    text = (copy / MONEY).read_text()
    assert old in text
    (copy / MONEY).write_text(text.replace(old, new))


def test_the_committed_contract_is_in_order(copy: Path) -> None:
    assert run(copy, "--check") == (0, "")


def test_a_breaking_change_is_refused_and_nothing_is_written(copy: Path) -> None:
    before = (copy / "libs/contracts/src/shop/types/v1/money_pb2.py").read_bytes()
    change(copy, "int64 minor_units = 2;", "int32 minor_units = 2;")
    for arguments in ((), ("--check",)):
        code, said = run(copy, *arguments)
        assert code == 1
        assert 'Field "2" with name "minor_units" on message "Money" changed type' in said
    assert (copy / "libs/contracts/src/shop/types/v1/money_pb2.py").read_bytes() == before


def test_a_breaking_change_can_be_let_through_on_purpose(copy: Path) -> None:
    change(copy, "int64 minor_units = 2;", "int32 minor_units = 2;")
    assert run(copy, "--accept-breaking") == (0, "")
    assert run(copy, "--check") == (0, "")


def test_a_new_field_makes_generated_code_image_and_tables_stale_until_they_are_generated(copy: Path) -> None:
    change(copy, "int64 minor_units = 2;", "int64 minor_units = 2;\n\n  // A note.\n  string note = 3;")
    code, said = run(copy, "--check")
    assert code == 1
    for name in ("libs/contracts/src/shop/types/v1/money_pb2.py", "money_pb2.pyi", "proto/descriptor.binpb", "docs/messages.md"):
        assert f"{name} is stale" in said
    assert run(copy) == (0, "")
    assert run(copy, "--check") == (0, "")


def test_a_file_that_is_not_generated_is_stale_among_generated_code(copy: Path) -> None:
    (copy / "libs/contracts/src/shop/extra.py").write_text("")
    code, said = run(copy, "--check")
    assert (code, said) == (1, "proto: libs/contracts/src/shop/extra.py is stale; run `make proto`\n")
    assert run(copy) == (0, "")
    assert not (copy / "libs/contracts/src/shop/extra.py").exists()


def test_a_name_against_the_style_is_refused(copy: Path) -> None:
    change(copy, "message Money {", "message money_amount {\n}\n\nmessage Money {")
    code, said = run(copy, "--check")
    assert code == 1
    assert "PascalCase" in said
