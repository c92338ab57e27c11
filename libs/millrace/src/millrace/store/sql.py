"""One SQL for both databases: named parameters, and whole batches of rows as a table called `rows`.

Statements are written once, in the subset that PostgreSQL and SQLite share (`ON CONFLICT`, `RETURNING`, `UPDATE ... FROM`). Times are
microseconds since 1970 in UTC, truth values 0 or 1, documents JSON text. What the two cannot share is a member of `Sql`.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import psycopg

Row = tuple[Any, ...]
ColumnType = Literal["text", "bigint", "bytea"]
_WRITE = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


class Sql(Protocol):
    """Statements on one connection, inside its current transaction."""

    for_update: str
    """The words that lock selected rows, or nothing where the whole database is locked anyway."""

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement with `:name` parameters; return its rows, none if it has no result."""

    def each(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> list[Row]:
        """Run one statement that reads the table `rows`, made of `rows` with `columns`. An empty batch runs nothing."""

    def asked(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> Callable[[], list[Row]]:
        """Run a statement as `each` does, and return what gives its rows: those asked one after the other cost one answer."""

    def lock(self, keys: Sequence[int]) -> None:
        """Hold the lock of every key (64 bits, signed) from before the next statement until the transaction ends.

        Sorted here, so that nobody deadlocks.
        """

    def settle(self) -> None:
        """Raise what a statement before this one failed with: without this, such an error may come with a later one, or the end."""


class PostgresSql:
    """`Sql` on a psycopg connection in pipeline mode: what gives no rows travels with the next statement that does, or with the end.

    So an error of such a statement is raised by a later one, or at the latest where the pipeline ends, inside the transaction.
    """

    for_update = " FOR UPDATE"

    def __init__(self, connection: psycopg.Connection[Row], pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._sent = self._answered = 0

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return self._run(query, _for_psycopg(query), parameters or {})()

    def each(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> list[Row]:
        return self.asked(query, columns, rows)()

    def asked(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> Callable[[], list[Row]]:
        if not rows:
            return list
        arrays = [list(column) for column in zip(*rows, strict=True)]
        return self._run(query, _with_unnest(query, tuple(columns.items())), arrays)

    def lock(self, keys: Sequence[int]) -> None:
        self._connection.cursor(binary=True).execute(
            "SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%s::bigint[]) AS key ORDER BY 1) AS sorted",
            [sorted(set(keys))],
        )

    def settle(self) -> None:
        self._pipeline.sync()
        self._answered = self._sent

    def _run(self, query: str, statement: bytes, parameters: Mapping[str, Any] | Sequence[Any]) -> Callable[[], list[Row]]:
        cursor = self._connection.cursor(binary=True)
        cursor.execute(statement, parameters)
        if _gives_no_rows(query):
            return list
        self._sent += 1
        number = self._sent

        def rows() -> list[Row]:
            if self._answered < number:
                self.settle()
            return cursor.fetchall() if cursor.description else []

        return rows


class SqliteSql:
    """`Sql` on a sqlite3 connection. `lock` has nothing to do: a write transaction excludes every other one."""

    for_update = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._batch = 30_000

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return self._connection.execute(query, parameters or {}).fetchall()

    def each(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> list[Row]:
        size = self._batch // len(columns)
        found: list[Row] = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            values = [value for row in part for value in row]
            found += self._connection.execute(_with_values(query, tuple(columns), len(part)), values).fetchall()
        return found

    def asked(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> Callable[[], list[Row]]:
        found = self.each(query, columns, rows)
        return lambda: found

    def lock(self, keys: Sequence[int]) -> None:
        return None

    def settle(self) -> None:
        return None


@lru_cache(maxsize=1024)
def _gives_no_rows(query: str) -> bool:
    return _WRITE.match(query) is not None and "RETURNING" not in query.upper()


@lru_cache(maxsize=1024)
def _for_psycopg(query: str) -> bytes:
    return _PARAMETER.sub(r"%(\1)s", query.replace("%", "%%")).encode()


@lru_cache(maxsize=1024)
def _with_unnest(query: str, columns: tuple[tuple[str, ColumnType], ...]) -> bytes:
    names = ", ".join(name for name, _ in columns)
    # Binary arrays: psycopg escapes each element of a text one by regular expression, which took most of a batch's CPU time.
    arrays = ", ".join(f"%b::{kind}[]" for _, kind in columns)
    return f"WITH rows({names}) AS (SELECT * FROM unnest({arrays})) {query.replace('%', '%%')}".encode()


@lru_cache(maxsize=1024)
def _with_values(query: str, columns: tuple[str, ...], count: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"WITH rows({', '.join(columns)}) AS (VALUES {', '.join([row] * count)}) {query}"
