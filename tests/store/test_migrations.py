"""Migrations only add, so that the previous version goes on working, and may be applied by several processes at once."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from yoyo import get_backend, read_migrations

import millrace
from millrace.store.migrations import LIBRARY
from millrace.store.open import open_store

_ROOT = Path(__file__).parents[2]
_FOLDERS = sorted({file.parent for file in [*_ROOT.glob("libs/*/src/**/*.sql"), *_ROOT.glob("services/*/src/**/*.sql")]})
_TAKES_AWAY = re.compile(
    r"\b(DROP|RENAME|TRUNCATE|DELETE\s+FROM|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE)\b", re.IGNORECASE
)
_NEW_COLUMN = re.compile(r"\bADD\s+(?:COLUMN\s+)?(?!CONSTRAINT\b)[^,;]*", re.IGNORECASE)


def takes_away(statements: str) -> list[str]:
    """Return what in a later migration would break a program that knows only the earlier ones."""
    columns = (match.group() for match in _NEW_COLUMN.finditer(statements))
    needed = [
        column
        for column in columns
        if re.search(r"NOT\s+NULL", column, re.IGNORECASE) and not re.search("DEFAULT", column, re.IGNORECASE)
    ]
    return [match.group() for match in _TAKES_AWAY.finditer(statements)] + needed


def test_the_folders_of_the_library_are_among_those_looked_at() -> None:
    library = Path(millrace.__file__).parent / "store" / "migrations"
    assert {library / "sqlite", library / "postgresql"} <= set(_FOLDERS)


@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: "/".join(folder.relative_to(_ROOT).parts[-4:]))
def test_migrations_are_numbered_and_only_add(folder: Path) -> None:
    files = sorted(folder.glob("*.sql"))
    assert all(re.match(r"\d{4}\.", file.name) for file in files), [file.name for file in files]
    assert {file.name: found for file in files[1:] if (found := takes_away(file.read_text()))} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE a",
        "ALTER TABLE a DROP COLUMN b",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE a ADD COLUMN b text NOT NULL",
        "alter table a add b text not null, add c text",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
    ],
)
def test_what_would_break_the_previous_version_is_found(statement: str) -> None:
    assert takes_away(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE a (b text NOT NULL)",
        "ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT ''",
        "ALTER TABLE a ADD COLUMN b text",
    ],
)
def test_what_only_adds_is_let_through(statement: str) -> None:
    assert takes_away(statement) == []


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return make()


_MIGRATE = "import sys; from pathlib import Path; from millrace.store.open import open_store; open_store(sys.argv[1]).migrate(Path(sys.argv[2]))"


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001.model.sql").write_text("CREATE TABLE model (id text PRIMARY KEY);\nINSERT INTO model VALUES ('once');\n")
    return folder


def test_several_processes_migrate_at_once(url: str, own_folder: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", _MIGRATE, url, str(own_folder)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ends = [(program.communicate(timeout=60)[1], program.returncode) for program in programs]
    assert [code for _, code in ends] == [0, 0, 0], ends
    session = open_store(url).session()
    with session.transaction() as tx:
        assert tx.sql.execute("SELECT id FROM model") == [("once",)]
        assert tx.outbox.size() == 0
    session.close()


def test_a_process_killed_while_it_migrated_does_not_keep_others_from_it(url: str, own_folder: Path) -> None:
    open_store(url).migrate()
    session = open_store(url).session()
    with session.transaction() as tx:
        tx.sql.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, '2026-01-01 00:00:00', 1)")
    session.close()
    open_store(url).migrate(own_folder)
    with session.transaction() as tx:
        assert tx.sql.execute("SELECT id FROM model") == [("once",)]
    session.close()


def test_a_database_without_yoyos_tables_is_away_not_broken_when_it_refuses_connections() -> None:
    with pytest.raises(psycopg.OperationalError):
        open_store("postgresql://nobody@127.0.0.1:1/none").migrate()


def test_messages_queued_before_queueing_had_a_time_count_from_the_upgrade(url: str, tmp_path: Path) -> None:
    dialect = url.partition(":")[0]
    before = tmp_path / "before"
    before.mkdir()
    for file in sorted((LIBRARY / dialect).glob("*.sql"))[:4]:
        shutil.copy(file, before)
    backend = get_backend(url.replace("postgresql://", "postgresql+psycopg://"))
    backend.apply_migrations(read_migrations(str(before)))
    backend.connection.close()
    queue = "INSERT INTO outbox (topic, headers, message_id) VALUES ('t', 'h', 'id')"
    session = open_store(url).session()
    with session.transaction() as tx:
        tx.sql.execute(queue)
    began = time.time()
    open_store(url).migrate()
    with session.transaction() as tx:
        (_, first) = tx.outbox.backlog(10)
        assert first is not None
        assert began - 1 <= first / 1e6 <= time.time() + 1
        if dialect == "postgresql":  # where the previous version goes on beside this one
            tx.sql.execute("DELETE FROM outbox")
            tx.sql.execute(queue)
            (_, later) = tx.outbox.backlog(10)
            assert later is not None
            assert later >= first
    session.close()
