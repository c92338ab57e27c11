"""A store in one PostgreSQL database, shared by every instance of a service."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus, TransactionStatus

from millrace.store import migrations
from millrace.store.contract import Lease, Session, Transaction
from millrace.store.sql import PostgresSql

_RELAY_LOCK = 0x6D696C6C72656C61
_MIGRATION_LOCK = 0x6D696C6C6D696772
_RELAY_CHANNEL = "millrace_relay"
_CONNECT_SECONDS = 5
_LISTEN_SECONDS = 0.5
_PLANS = "force_generic_plan"
"""Statements take arrays of any length, and one plan suits all: planning anew took a third of a small batch's time in the server."""
_STUCK_SECONDS = 30
"""How long a process may stop amid a transaction, frozen perhaps, before the server ends it and what it locked is free again."""


class PostgresStore:
    """One database. Every session is a connection of its own; never through a transaction pooler, which would share the relay's lock."""

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._notifier = PostgresSession(url, f"{application} notifier")

    def session(self) -> Session:
        """Open a session. See `Store`."""
        return PostgresSession(self._url, self._application)

    def try_lease(self, silence_seconds: float = 30.0) -> Lease | None:
        """Become the one relay, by a lock that the database drops with the connection. See `Store`."""
        session = PostgresSession(self._url, f"{self._application} relay")
        try:
            lease = _PostgresLease.take(session, silence_seconds)
        except BaseException:
            session.close()
            raise
        if lease is None:
            session.close()
        return lease

    def wake_relay(self) -> None:
        """Notify the relay's process. In a transaction of its own: NOTIFY holds a lock of the whole server through its commit."""
        try:
            self._notifier.connection().execute(f"NOTIFY {_RELAY_CHANNEL}")
        except psycopg.Error:
            self._notifier.close()
            raise

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Listen on a connection of its own; without it the relay's sweep still finds everything. See `Store`."""
        stopping = threading.Event()

        def run() -> None:
            while not stopping.is_set():
                with (
                    suppress(psycopg.Error),
                    psycopg.connect(
                        self._url,
                        autocommit=True,
                        application_name=f"{self._application} listener",
                        connect_timeout=_CONNECT_SECONDS,
                    ) as listener,
                ):
                    listener.execute(f"LISTEN {_RELAY_CHANNEL}")
                    while not stopping.is_set():
                        for _ in listener.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                            wake()
                stopping.wait(_LISTEN_SECONDS)

        thread = threading.Thread(target=run, name="relay listener")
        thread.start()

        def stop() -> None:
            stopping.set()
            thread.join()

        return stop

    def migrate(self, *folders: Path) -> None:
        """Bring the schema up to date. See `Store`."""
        rest = self._url.partition("://")[2]
        with psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
            if connection.execute("SELECT 1 WHERE to_regclass('yoyo_lock') IS NOT NULL").fetchone():
                connection.execute("DELETE FROM yoyo_lock")
            migrations.apply(f"postgresql+psycopg://{rest}", "postgresql", folders)

    def close(self) -> None:
        """Close the connection that notifies the relay."""
        self._notifier.close()


class PostgresSession:
    """One connection, made anew after it broke."""

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit when the block ends, roll back when it raises. See `Session`."""
        connection = self.connection()
        try:
            # BEGIN and COMMIT outside the pipeline: behind its end the server takes a session for busy, and does not end one that is frozen.
            with connection.transaction(), connection.pipeline() as pipeline:
                yield Transaction.on(PostgresSql(connection, pipeline))
        except BaseException:
            if not _is_usable(connection):
                self.close()
            raise

    def connection(self) -> psycopg.Connection[Any]:
        """Return the open connection, made where there is none."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url, autocommit=True, application_name=self._application, connect_timeout=_CONNECT_SECONDS,
                keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
                options=_options(self._url),
            )  # fmt: skip
        return self._connection

    @property
    def connected(self) -> bool:
        """Whether the connection that was made is still there."""
        return self._connection is not None and not self._connection.closed

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _options(url: str) -> str:
    """Return what the server is told for each session; what the address itself asks for comes behind it, and holds."""
    given = conninfo_to_dict(url).get("options") or ""
    return f"-c plan_cache_mode={_PLANS} -c idle_in_transaction_session_timeout={_STUCK_SECONDS}s {given}"


def _is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether a transaction that failed left a connection as it was.

    A server that goes away amid a pipeline can leave it waiting for an answer: open by its own account, and of no use ever after.
    """
    if connection.closed:
        return False
    info = connection.info
    return info.transaction_status is TransactionStatus.IDLE and info.pipeline_status is PipelineStatus.OFF


_END_IF_SILENT = (  # PostgreSQL knows idle_session_timeout from 14 on
    "SELECT set_config(name, %s, false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')"
)


class _PostgresLease:
    """The relay's advisory lock, on the connection that the relay reads with: losing one is losing the other."""

    def __init__(self, session: PostgresSession, predecessor_left_cleanly: bool) -> None:
        self.session = LeasedSession(session)
        self.predecessor_left_cleanly = predecessor_left_cleanly

    @classmethod
    def take(cls, session: PostgresSession, silence_seconds: float) -> "_PostgresLease | None":
        connection = session.connection()
        connection.execute(_END_IF_SILENT, [f"{silence_seconds * 1000:.0f}"])
        answer = connection.execute("SELECT pg_try_advisory_lock(%s)", [_RELAY_LOCK]).fetchone()
        if answer is None or not answer[0]:
            return None
        row = connection.execute("SELECT clean FROM relay_exit WHERE id = 1").fetchone()
        connection.execute("UPDATE relay_exit SET clean = 0 WHERE id = 1")
        return cls(session, row is not None and bool(row[0]))

    def release(self) -> None:
        """Give the lock back, and record that nothing is under way."""
        with suppress(psycopg.Error), self.session.transaction() as tx:
            tx.sql.execute("UPDATE relay_exit SET clean = 1 WHERE id = 1")
        self.session.close()

    def abandon(self) -> None:
        """Give the lock back with the connection; the exit stays recorded as unclean."""
        self.session.close()


class LeasedSession:
    """A session that does not reconnect: with the connection the lock is gone too."""

    def __init__(self, session: PostgresSession) -> None:
        self._session = session

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit when the block ends. Raises psycopg.OperationalError once the connection, and so the lock, is lost."""
        if not self._session.connected:
            raise psycopg.OperationalError("the relay's connection, and its lock, are lost")
        with self._session.transaction() as tx:
            yield tx

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
