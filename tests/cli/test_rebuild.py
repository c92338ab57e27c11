"""What `millrace rebuild` says to words it can do nothing with."""

import pytest
from typer.testing import CliRunner

from millrace.cli.app import load_app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "'nobody' cannot be rebuilt; there are: analytics, inventory, notification, order, payment, shipping"),
        (("order", "--from", "kafka"), "order does more than follow topics"),
        (("order", "--store", "sqlite:///nowhere.db"), "there is no store at nowhere.db"),
        (("order", "--store", "memory://"), "a store in memory is its own process's"),
    ],
)
def test_what_cannot_be_rebuilt_is_said(words: tuple[str, ...], said: str) -> None:

    result = CliRunner().invoke(load_app(), ["rebuild", *words], prog_name="millrace")
    assert result.exit_code == 2
    assert said in result.output
