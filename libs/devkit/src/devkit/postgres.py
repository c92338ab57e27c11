"""One real PostgreSQL server bound to 127.0.0.1, as a child of this process, with fsync and synchronous_commit on.

Uses the binaries of the system. As root, the server runs as the account `postgres`, or `nobody` where that is missing.
"""

import os
import pwd
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.waiting import wait_until
from devkit.workspace import free_port


class PostgresServer:
    """A server that can be stopped, killed and started again on the same data and port; leaving the context ends it.

    Its data are in a temporary folder, which is removed at the end.
    """

    def __init__(self, *, port: int | None = None, children: Children | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="millrace-pg-"))
        self._port = port or free_port()
        self._password = secrets.token_urlsafe(16)
        self._own_children = children is None
        self._children = children or Children()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Return the address of the maintenance database, as a superuser."""
        return f"postgresql://millrace:{self._password}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """Return the server's process id. Raises RuntimeError if it is not running."""
        return self._running().pid

    @property
    def log_path(self) -> Path:
        """Return the file its output goes to."""
        return self._folder / "postgres.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, *, timeout_seconds: float = 60) -> None:
        """Start it and return once it answers. Raises ChildDied if it ends, FileNotFoundError if there are no binaries."""
        binaries = _binaries()
        data = self._folder / "data"
        if not data.exists():
            self._initialise(binaries, data)
        words = [f"{binaries}/postgres", "-D", str(data), "-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder)]
        for name, value in _SETTINGS.items():
            words += ["-c", f"{name}={value}"]
        # SIGQUIT is PostgreSQL's immediate shutdown: it takes its backends and shared memory with it.
        child = self._child = self._start("postgres", words, death_signal=signal.SIGQUIT)
        wait_until(
            lambda: self._answers() or child.check(),
            what=f"PostgreSQL at port {self._port} answering",
            timeout_seconds=timeout_seconds,
            seen=lambda: log_tail(self.log_path),
        )

    def stop(self) -> None:
        """End it in order, dropping its connections (fast shutdown), and return once it is gone."""
        self._running().stop(sign=signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL it and its backends, and return once all are gone."""
        self._running().kill()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and port."""
        if self._child is not None and self._child.alive:
            self.stop()
        self.start()

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address."""
        return create_database(self.url, name)

    def close(self) -> None:
        """End it and remove its data."""
        if self._child is not None:
            self._child.stop(sign=signal.SIGQUIT, timeout_seconds=10)
        if self._own_children:
            self._children.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _running(self) -> Child:
        if self._child is None or not self._child.alive:
            raise RuntimeError("this server is not running")
        return self._child

    def _initialise(self, binaries: Path, data: Path) -> None:
        password = self._folder / "password"
        password.write_text(self._password)
        account = _account()
        if account is not None:
            for path in (self._folder, password):
                os.chown(path, *account)
        words = [f"{binaries}/initdb", "-D", str(data), "-U", "millrace", f"--pwfile={password}", "--auth=scram-sha-256"]
        child = self._start("initdb", [*words, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
        if child.process.wait(timeout=120) != 0:
            raise RuntimeError(f"initdb failed:\n{log_tail(self.log_path)}")

    def _start(self, name: str, argv: list[str], *, death_signal: signal.Signals = signal.SIGKILL) -> Child:
        return self._children.start(
            ChildSpec(
                name=name,
                argv=argv,
                log_path=self.log_path,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                cwd=self._folder,
                user=_account(),
                death_signal=death_signal,
            )
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "log_min_messages": "warning",
}


def create_database(server_url: str, name: str) -> str:
    """Create an empty database at a server and return its address."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, and the connections to it."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _binaries() -> Path:
    """Return the folder of the newest PostgreSQL of the system."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    if found is None or not Path(found).with_name("initdb").exists():
        raise FileNotFoundError("PostgreSQL is not installed (Debian: postgresql), and MILLRACE_POSTGRES_URL names no server")
    return Path(found).parent


def _account() -> tuple[int, int] | None:
    """Return whom to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise LookupError("PostgreSQL refuses to run as root, and there is no account postgres or nobody")
