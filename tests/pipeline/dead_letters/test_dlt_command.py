"""`millrace dlt` on stores: what it shows, that it tells how much before it acts and asks, and what it says to wrong words."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from millrace.cli.app import load_app
from millrace.clock import utc_now
from millrace.decision import Context, Decision
from millrace.errors import Refused

Millrace = Callable[..., Result]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()


@pytest.fixture
def dlt() -> Millrace:
    """Run `millrace dlt` with these words, and with an answer for what it asks."""

    def run(*words: str, answer: str = "") -> Result:
        return CliRunner().invoke(load_app(), ["dlt", *words], input=answer, prog_name="millrace")

    return run


@pytest.fixture
def poisoned(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a world, known as the service accounts, with two dead heads; three messages wait behind that of key a, none behind that of b."""

    def fail(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        raise Refused("the customer is blocked")

    world.scripts["poison"] = fail
    world.clock = utc_now  # the command's own
    world.engine = world.new_engine()
    for variable in ("MILLRACE_STORE_URL", "MILLRACE_KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MILLRACE_ACCOUNTS_STORE_URL", world.url)
    world.heads = [world.message(key, does="poison") for key in ("a", "b")]
    world.behind = [world.message("a") for _ in range(3)]
    world.process(*world.records(*world.heads, *world.behind))
    return world


def test_the_list_tells_what_is_dead_why_and_what_waits(poisoned: Any, dlt: Millrace) -> None:
    result = dlt("list")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "accounts:1" in line)
    for text in ("dead", "payment.request", " a ", "ChargePaymentCommand", " 3 ", "Refused: the customer is blocked"):
        assert text in row, row
    assert "waiting" not in result.stdout


def test_the_list_for_machines_holds_every_state_asked_for(poisoned: Any, dlt: Millrace) -> None:
    listed = json.loads(dlt("list", "--state", "all", "--json").stdout)
    assert [(letter["key"], letter["state"], letter["waiting"]) for letter in listed] == [
        ("a", "dead", 3),
        ("b", "dead", 0),
        *[("a", "waiting", 0)] * 3,
    ]
    assert [letter["message_id"] for letter in listed[2:]] == [message.id for message in poisoned.behind]
    (one,) = json.loads(dlt("list", "--key", "b", "--type", "ChargePaymentCommand", "--since", "1d", "--json").stdout)
    assert one["reason"] == "Refused: the customer is blocked"
    assert json.loads(dlt("list", "--reason", "no such reason", "--json").stdout) == []


def test_one_letter_is_shown_whole(poisoned: Any, dlt: Millrace) -> None:
    shown = dlt("show", "accounts:1").stdout
    for text in (
        "Refused: the customer is blocked",
        poisoned.heads[0].id,
        "payment.request/0/0",
        "header ce_type",
        "waiting behind",
    ):
        assert text in shown
    whole = json.loads(dlt("show", "accounts:1", "--json").stdout)
    assert base64.b64decode(whole["value"]) == poisoned.heads[0].payload
    assert poisoned.heads[0].payload[:16].hex(" ") in shown


def test_a_dry_run_counts_and_changes_nothing(poisoned: Any, dlt: Millrace) -> None:
    before = poisoned.parked()
    for verb in ("redrive", "discard"):
        result = dlt(verb, "--all", "--dry-run")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("2 dead letters of 2 keys; 3 messages wait behind\n")
        assert "nothing was changed" in result.stdout
    assert poisoned.parked() == before


def test_it_asks_having_told_the_count_and_takes_no_for_an_answer(poisoned: Any, dlt: Millrace) -> None:
    before = poisoned.parked()
    for answer in ("n\n", ""):
        result = dlt("discard", "--all", answer=answer)
        assert result.exit_code == 1
        assert result.stdout.startswith("2 dead letters of 2 keys; 3 messages wait behind\n")
        assert "discard 2 dead letters?" in result.stderr
        assert "nothing was changed" in result.stderr
    assert poisoned.parked() == before


def test_yes_discards_and_what_waited_goes_on(poisoned: Any, dlt: Millrace) -> None:
    result = dlt("discard", "--key", "a", answer="y\n")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("1 dead letter discarded\n")
    poisoned.retry_due()
    assert poisoned.notes("a") == [message.id for message in poisoned.behind]
    assert poisoned.parked() == [("b", "dead", 1, True)]


def test_redriven_by_id_without_asking(poisoned: Any, dlt: Millrace) -> None:
    poisoned.scripts.pop("poison")
    result = dlt("redrive", "accounts:1", "accounts:2", "--yes", "--json")
    assert json.loads(result.stdout) == {"dry_run": False, "letters": ["accounts:1", "accounts:2"], "waiting": 3, "redriven": 2}
    poisoned.retry_due()
    assert poisoned.notes("a") == [message.id for message in [poisoned.heads[0], *poisoned.behind]]
    assert dlt("redrive", "accounts:1", "--yes").stderr == "error: not there, or settled before: accounts:1\n"


def test_what_only_waits_is_not_decided_about(poisoned: Any, dlt: Millrace) -> None:
    result = dlt("discard", "accounts:3", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "error: not dead: accounts:3; what waits goes on when the head of its key is settled\n"
    assert len(poisoned.parked()) == 5


def test_a_service_reads_its_own_store_by_its_own_settings(poisoned: Any, dlt: Millrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_ACCOUNTS_STORE_URL")
    monkeypatch.setenv("MILLRACE_STORE_URL", poisoned.url)
    assert json.loads(dlt("list", "--json").stdout)[0]["id"] == "store:1"
    monkeypatch.delenv("MILLRACE_STORE_URL")
    assert json.loads(dlt("list", "--store", poisoned.url, "--json").stdout)[0]["id"] == "store:1"
    assert dlt("show", "store:1", "--store", poisoned.url).exit_code == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("discard",), "say which: ids, filters such as --topic, or --all"),
        (("redrive", "accounts:1", "--all"), "give either ids or filters"),
        (
            ("redrive", "accounts"),
            "'accounts' is no letter's id, such as payment:17 or payment.request.dlt/0/4; `list` shows them",
        ),
        (
            ("show", "accounts:x"),
            "'accounts:x' is no letter's id, such as payment:17 or payment.request.dlt/0/4; `list` shows them",
        ),
        (("show", "nobody:1"), "the store of nobody is not known: set MILLRACE_NOBODY_STORE_URL"),
        (("show",), "Missing argument 'ID'."),
        (("list", "--service", "nobody"), "the store of nobody is not known: set MILLRACE_NOBODY_STORE_URL"),
        (("list", "--state", "living"), "'living' is none of dead, retry, waiting, all"),
        (("list", "--since", "lately"), "'lately' is neither a time such as 2026-01-31T12:00 nor an age such as 90m, 2h or 7d"),
        (("list", "--limit", "0"), "Invalid value for '--limit': Input should be greater than or equal to 1"),
        (("list", "--store", "mysql://x/y"), "a store address is sqlite:///path, postgresql://... or memory://, not 'mysql'"),
        (("list", "--store", "sqlite:////nowhere/x.db"), "there is no store at /nowhere/x.db"),
        (("list", "--from", "payment.request"), "'payment.request' is no dead letter topic: their names end with .dlt"),
        (("list", "--from", "payment.request.dlt"), "MILLRACE_KAFKA_BOOTSTRAP: Environment variable not set"),
        (("list", "--nonsense"), "No such option: --nonsense"),
        (("bury",), "No such command 'bury'."),
    ],
)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_wrong_words_are_answered_with_one_line_and_exit_code_2(
    poisoned: Any, dlt: Millrace, words: tuple[str, ...], line: str
) -> None:
    result = dlt(*words)
    assert (result.exit_code, result.stderr, result.stdout) == (2, f"error: {line}\n", "")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_without_any_store_it_says_how_to_name_one(poisoned: Any, dlt: Millrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_ACCOUNTS_STORE_URL")
    result = dlt("list")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no store is named: give --store, --service or --from, or set MILLRACE_STORE_URL")


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("postgresql://shop:secret@127.0.0.1:1/shop", "error: the store store cannot be used: "),
        ("sqlite:///{here}/empty.db", "error: the store store cannot be used: no such table: parked; has its service ever run?"),
        ("sqlite:///{here}/text.db", "error: the store store cannot be used: file is not a database"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_of_in_one_line_without_its_password(
    dlt: Millrace, tmp_path: Any, address: str, line: str
) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database at all, but a text" * 100)
    result = dlt("list", "--store", address.format(here=tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.output
