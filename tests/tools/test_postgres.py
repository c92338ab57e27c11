"""The database keeps its data and address across stop, kill and start; every test gets databases of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from devkit.postgres import PostgresServer

PARENT = """
import signal
from devkit.postgres import PostgresServer
with PostgresServer() as server:
    print(server.pid, flush=True)
    signal.pause()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that another account may enter, and that goes with what a killed parent could not remove."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def insert(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id serial)")
        connection.execute("INSERT INTO kept DEFAULT VALUES")


def test_rows_survive_stop_kill_and_start(private_postgres: PostgresServer) -> None:
    url = private_postgres.create_database("kept")
    insert(url)
    private_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        count(url)
    private_postgres.start()
    insert(url)
    private_postgres.kill()
    private_postgres.start()
    assert count(url) == 2


def test_commits_are_on_disk_before_they_return(postgres_url: Callable[[], str]) -> None:
    with psycopg.connect(postgres_url()) as connection:
        for setting in ("fsync", "synchronous_commit"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_every_database_of_the_factory_is_empty(postgres_url: Callable[[], str]) -> None:
    first, second = postgres_url(), postgres_url()
    insert(first)
    with pytest.raises(psycopg.errors.UndefinedTable):
        count(second)


@pytest.mark.servers
def test_no_server_is_left_when_its_parent_is_killed(open_folder: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(open_folder)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    backends = server.children(recursive=True)
    assert backends
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(timeout=10)
    assert psutil.wait_procs([server, *backends], timeout=10)[1] == []
