"""Database errors are classified as the pipeline needs it; every error here is one that a real database raised."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from devkit.postgres import PostgresServer
from millrace.errors import PermanentError, TransientError, VersionConflict
from millrace.eventstore.events import Append, NewEvent
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.timers import Timer
from millrace.store.contract import Session, Transaction
from millrace.store.faults import Fault, classify
from millrace.store.open import open_store
from millrace.store.postgres import PostgresSession
from millrace.testing.waiting import eventually

Work = Callable[[Transaction], object]


def fault_of(session: Session, work: Work) -> Fault:
    """Return how what `work` raises is classified. Fails if nothing is raised."""
    try:
        with session.transaction() as tx:
            work(tx)
    except Exception as error:  # noqa: BLE001 - what it is, is asked here
        return classify(error)
    pytest.fail("nothing was raised")


@pytest.fixture(params=["sqlite", "postgresql"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    url = f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
    store = open_store(url)
    store.migrate()
    session = store.session()
    with session.transaction() as tx:
        tx.sql.execute("CREATE TABLE model (id text PRIMARY KEY, n bigint NOT NULL CHECK (n < 1000))")
        tx.sql.execute("INSERT INTO model (id, n) VALUES ('taken', 1)")
    yield session
    session.close()
    store.close()


@pytest.fixture
def postgres(postgres_url: Callable[[], str]) -> Iterator[Callable[[], Session]]:
    store = open_store(postgres_url())
    store.migrate()
    opened: list[Session] = []

    def open_session() -> Session:
        opened.append(store.session())
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


def test_a_unique_violation_is_the_datas_fault(session: Session) -> None:
    assert fault_of(session, lambda tx: tx.sql.execute("INSERT INTO model (id, n) VALUES ('taken', 2)")) is Fault.DATA


def test_a_missing_value_and_a_broken_check_are_the_datas_fault(session: Session) -> None:
    assert fault_of(session, lambda tx: tx.sql.execute("INSERT INTO model (id, n) VALUES ('a', NULL)")) is Fault.DATA
    assert fault_of(session, lambda tx: tx.sql.execute("INSERT INTO model (id, n) VALUES ('a', 1000)")) is Fault.DATA


def test_an_integer_of_more_than_64_bits_is_the_datas_fault(session: Session) -> None:
    def as_parameter(tx: Transaction) -> None:
        tx.sql.execute("INSERT INTO model (id, n) VALUES ('a', :n)", {"n": 2**63})

    def in_a_batch(tx: Transaction) -> None:
        tx.timers.start("group", [Timer("t", "key", "kind", 1, 2**70, 0, None, "{}")])

    assert fault_of(session, as_parameter) is Fault.DATA
    assert fault_of(session, in_a_batch) is Fault.DATA


def test_text_that_is_no_unicode_is_the_datas_fault(session: Session) -> None:
    def lone_surrogate(tx: Transaction) -> None:
        tx.sql.execute("INSERT INTO model (id, n) VALUES (:id, 1)", {"id": "\ud800"})

    assert fault_of(session, lone_surrogate) is Fault.DATA


def test_a_statement_nobody_understands_is_a_bug(session: Session) -> None:
    assert fault_of(session, lambda tx: tx.sql.execute("SELECT nothing FROM model")) is Fault.BUG


def test_a_nul_in_text_is_the_datas_fault(postgres: Callable[[], Session]) -> None:
    def alone(tx: Transaction) -> None:
        tx.sql.execute("SELECT :text::text", {"text": "a\x00b"})

    def in_a_batch(tx: Transaction) -> None:
        tx.events.append([Append("a-1", 0, [NewEvent("E", "\x00")], "", 1)], 1)

    assert fault_of(postgres(), alone) is Fault.DATA
    assert fault_of(postgres(), in_a_batch) is Fault.DATA


def test_a_refused_connection_means_the_database_is_away() -> None:
    session = open_store("postgresql://nobody@127.0.0.1:1/none").session()
    assert fault_of(session, lambda tx: None) is Fault.AWAY


def test_a_refused_password_means_the_database_is_away(postgres_url: Callable[[], str]) -> None:
    credentials, _, place = postgres_url().rpartition("@")
    session = open_store(f"{credentials}wrong@{place}").session()
    assert fault_of(session, lambda tx: None) is Fault.AWAY


def test_a_killed_backend_means_the_database_is_away_and_the_session_connects_again(postgres: Callable[[], Session]) -> None:
    session, other = postgres(), postgres()

    def killed(tx: Transaction) -> None:
        backend = tx.sql.execute("SELECT pg_backend_pid()")[0][0]
        with other.transaction() as killer:
            killer.sql.execute("SELECT pg_terminate_backend(:backend)", {"backend": backend})
        tx.sql.execute("SELECT 1")

    assert fault_of(session, killed) is Fault.AWAY
    with session.transaction() as tx:
        assert tx.sql.execute("SELECT 1") == [(1,)]


def test_a_killed_server_means_the_database_is_away_and_the_session_connects_again(private_postgres: PostgresServer) -> None:
    session = open_store(private_postgres.url).session()
    with session.transaction() as tx:
        tx.sql.execute("SELECT 1")
    private_postgres.kill()
    assert fault_of(session, lambda tx: tx.sql.execute("SELECT 1")) is Fault.AWAY
    assert fault_of(session, lambda tx: tx.sql.execute("SELECT 1")) is Fault.AWAY
    private_postgres.start()
    with session.transaction() as tx:
        assert tx.sql.execute("SELECT 1") == [(1,)]
    session.close()


def test_a_cancelled_statement_means_the_database_is_away(postgres: Callable[[], Session]) -> None:
    def cancelled(tx: Transaction) -> None:
        tx.sql.execute("SET LOCAL statement_timeout = 20")
        tx.sql.execute("SELECT pg_sleep(10)")

    assert fault_of(postgres(), cancelled) is Fault.AWAY


def test_a_process_that_stops_amid_a_transaction_loses_it_after_a_while(postgres_url: Callable[[], str]) -> None:
    url, shown = postgres_url(), "SHOW idle_in_transaction_session_timeout"
    watching = open_store(url).session()
    with watching.transaction() as tx:
        assert tx.sql.execute(shown) == [("30s",)]
    hurried = open_store(f"{url}?options=-c%20idle_in_transaction_session_timeout%3D100ms").session()

    def stopped(tx: Transaction) -> None:
        assert tx.sql.execute(shown) == [("100ms",)]
        tx.sql.lock([1])
        backend = tx.sql.execute("SELECT pg_backend_pid()")[0][0]

        def is_gone() -> bool:
            with watching.transaction() as other:
                return not other.sql.execute("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", {"pid": backend})

        eventually(is_gone, 30)
        tx.sql.execute("SELECT 1")

    assert fault_of(hurried, stopped) is Fault.AWAY
    watching.close()


def test_too_many_connections_mean_the_database_is_away(postgres_url: Callable[[], str]) -> None:
    url = postgres_url()
    with psycopg.connect(url, autocommit=True) as first:
        first.execute("CREATE ROLE one_only LOGIN PASSWORD 'pw' CONNECTION LIMIT 0")
        place = url.rpartition("@")[2]
        try:
            session = open_store(f"postgresql://one_only:pw@{place}").session()
            assert fault_of(session, lambda tx: None) is Fault.AWAY
        finally:
            first.execute("DROP ROLE one_only")


def test_a_deadlock_asks_for_another_run(postgres: Callable[[], Session]) -> None:
    met = threading.Barrier(2, timeout=20)
    faults: list[Fault] = []

    def cross(first: int, second: int) -> None:
        with suppress(psycopg.errors.DeadlockDetected):
            try:
                with postgres().transaction() as tx:
                    tx.sql.execute("SET LOCAL deadlock_timeout = 50")
                    tx.sql.lock([first])
                    tx.sql.settle()
                    met.wait()
                    tx.sql.lock([second])
            except psycopg.Error as error:
                faults.append(classify(error))
                raise

    threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert faults == [Fault.AGAIN]


def test_a_serialization_failure_asks_for_another_run(postgres: Callable[[], Session]) -> None:
    other = postgres()

    def overtaken(tx: Transaction) -> None:
        tx.sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        tx.outbox.head(1)
        with other.transaction() as faster:
            faster.sql.execute("UPDATE relay_exit SET clean = 0")
        tx.sql.execute("UPDATE relay_exit SET clean = 1")

    assert fault_of(postgres(), overtaken) is Fault.AGAIN


def test_another_writer_of_an_sqlite_file_asks_for_another_run(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db", isolation_level=None) as writer:
        writer.execute("CREATE TABLE t (n)")
        writer.execute("BEGIN IMMEDIATE")
        second = sqlite3.connect(tmp_path / "store.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError) as busy:
            second.execute("BEGIN IMMEDIATE")
        second.close()
    assert classify(busy.value) is Fault.AGAIN


def test_an_sqlite_file_that_cannot_be_opened_or_is_full_means_the_database_is_away(tmp_path: Path) -> None:
    assert fault_of(open_store(f"sqlite:///{tmp_path}/no/folder/store.db").session(), lambda tx: None) is Fault.AWAY
    small = open_store(f"sqlite:///{tmp_path}/store.db")
    small.migrate()
    session = small.session()

    def too_much(tx: Transaction) -> None:
        tx.sql.execute("PRAGMA max_page_count = 1")
        tx.outbox.add([OutboxRow("topic", None, bytes(10_000_000), b"", "id")])

    assert fault_of(session, too_much) is Fault.AWAY
    session.close()


def test_what_is_no_database_error_is_a_bug_and_a_version_conflict_asks_for_another_run() -> None:
    for error in (ValueError(), KeyError(), PermanentError(), TransientError()):
        assert classify(error) is Fault.BUG
    assert classify(VersionConflict()) is Fault.AGAIN


def test_a_key_too_long_for_an_index_is_the_datas_fault(postgres: Callable[[], Session]) -> None:
    text = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(6000))
    assert fault_of(postgres(), lambda tx: tx.message_ids.remember("group", [(text, 1)])()) is Fault.DATA


def test_a_server_that_takes_no_writes_yet_is_away(postgres: Callable[[], Session]) -> None:
    def write(tx: Transaction) -> None:
        tx.sql.execute("SET TRANSACTION READ ONLY")
        tx.outbox.add([OutboxRow("t", None, None, b"", "id")])

    assert fault_of(postgres(), write) is Fault.AWAY


def test_a_lock_that_is_not_given_in_time_is_waited_for(postgres: Callable[[], Session]) -> None:
    def want(tx: Transaction) -> None:
        tx.sql.execute("SET LOCAL lock_timeout = '20ms'")
        tx.sql.execute("LOCK TABLE outbox")

    holder = postgres()
    with holder.transaction() as tx:
        tx.sql.execute("LOCK TABLE outbox")
        assert fault_of(postgres(), want) is Fault.AWAY


def test_a_connection_left_amid_a_pipeline_is_not_used_again(postgres: Callable[[], Session]) -> None:
    session = postgres()
    assert isinstance(session, PostgresSession)
    with session.transaction():
        left = session.connection()
    with suppress(ConnectionError), session.transaction():
        for query in (b"SELECT 1 / 0", *[b"SELECT 1"] * 20):  # answers nobody waits for, as of a server that went away
            left.pgconn.send_query_params(query, [])
        raise ConnectionError
    assert left.closed
    with session.transaction() as tx:
        assert tx.sql.execute("SELECT 1") == [(1,)]


def test_a_transaction_that_raises_keeps_its_connection(postgres: Callable[[], Session]) -> None:
    session = postgres()
    assert isinstance(session, PostgresSession)
    with session.transaction():
        kept = session.connection()
    with pytest.raises(psycopg.errors.UndefinedTable), session.transaction() as tx:
        tx.sql.execute("DELETE FROM nowhere")
    assert session.connection() is kept
