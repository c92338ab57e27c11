"""The `millrace` command is put together from entry points."""

from importlib.metadata import EntryPoint, version

import pytest
from typer.testing import CliRunner

from millrace.cli.app import GROUP, load_app


def test_the_shop_adds_its_groups() -> None:
    shown = CliRunner().invoke(load_app(), ["--help"]).output
    for group in ("orders", "saga", "stock", "items", "payments", "shipments", "notifications", "contacts", "summary"):
        assert f" {group} " in shown


def test_commands_that_cannot_be_loaded_do_not_take_the_others_away() -> None:
    entries = [EntryPoint("broken", "no.such.package:app", GROUP), EntryPoint("shop", "shopkit.cli:app", GROUP)]
    result = CliRunner().invoke(load_app(entries), ["saga", "--help"])
    assert result.exit_code == 0
    assert "show" in result.output


def test_a_broken_package_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    load_app([EntryPoint("broken", "no.such.package:app", GROUP)])
    assert "no.such.package:app cannot be loaded" in capsys.readouterr().err


def test_the_version_is_the_librarys() -> None:
    assert CliRunner().invoke(load_app(), ["--version"]).output == f"millrace {version('millrace')}\n"
