"""A store in one SQLite file, or in memory for tests: one writer process, durable at every commit."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path

from millrace.store import migrations
from millrace.store.contract import Lease, Session, Transaction
from millrace.store.sql import SqliteSql


class SqliteStore:
    """One database file. Its sessions take turns under a lock, so that none starves in SQLite's own waiting."""

    def __init__(self, path: Path | None) -> None:
        """Open lazily; `path` None keeps everything in memory, for as long as the store is open."""
        self._path = path
        self._turn = threading.RLock()
        self._leased = False
        self._migrated: set[Path] = set()
        self._memory = _connect(":memory:") if path is None else None

    def session(self) -> Session:
        """Open a session. See `Store`."""
        return SqliteSession(self._turn, self._path, self._memory)

    def try_lease(self, silence_seconds: float = 30.0) -> Lease | None:
        """Become the one relay of this process, which is the only one: when it is silent, so is whoever could follow."""
        with self._turn:
            if self._leased:
                return None
            self._leased = True
        return _SqliteLease(self)

    def wake_relay(self) -> None:
        """Nobody else is there to be told."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Nobody else is there to be heard."""
        return lambda: None

    def migrate(self, *folders: Path) -> None:
        """Bring the schema up to date. See `Store`."""
        if self._memory is not None:
            for folder in (migrations.LIBRARY, *folders):
                own = folder / "sqlite"
                for file in sorted(set((own if own.is_dir() else folder).glob("*.sql")) - self._migrated):
                    self._memory.executescript(file.read_text())
                    self._migrated.add(file)
            return
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._turn, self._path.with_name(f"{self._path.name}.migration-lock").open("w") as lock:
            flock(lock, LOCK_EX)
            with suppress(sqlite3.OperationalError), closing(_connect(str(self._path))) as connection:
                connection.execute("DELETE FROM yoyo_lock")
            migrations.apply(f"sqlite:///{self._path}", "sqlite", folders)

    def close(self) -> None:
        """Close what the store itself holds open."""
        if self._memory is not None:
            self._memory.close()

    def end_lease(self) -> None:
        """Let somebody else be the relay."""
        self._leased = False


class SqliteSession:
    """One connection; `BEGIN IMMEDIATE` before anything is loaded."""

    def __init__(self, turn: threading.RLock, path: Path | None, shared: sqlite3.Connection | None) -> None:
        self._turn = turn
        self._path = path
        self._shared = shared
        self._connection = shared

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit when the block ends, roll back when it raises. See `Session`."""
        with self._turn:
            if self._connection is None:
                self._connection = _connect(str(self._path))
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction.on(SqliteSql(connection))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None and self._shared is None:
            self._connection.close()
            self._connection = None


class _SqliteLease:
    """The relay's right, within this process. Nobody else can have messages under way after a restart: the process is gone."""

    predecessor_left_cleanly = True

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.session = store.session()

    def release(self) -> None:
        """Give it back."""
        self.session.close()
        self._store.end_lease()

    def abandon(self) -> None:
        """Give it back. What is under way is this very process's, whose producer knows of it."""
        self.release()


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
