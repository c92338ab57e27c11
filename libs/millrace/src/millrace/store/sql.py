"""One SQL for both databases: named parameters, and whole batches of rows as a table called `rows`.

Statements are written once, in the subset that PostgreSQL and SQLite share (`ON CONFLICT`, `RETURNING`, `UPDATE ... FROM`). Times are
microseconds since 1970 in UTC, truth values 0 or 1, documents JSON text. What the two cannot share is a member of `Sql`.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import psycopg

Row = tuple[Any, ...]
ColumnType = Literal["text", "bigint", "bytea"]
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


class Sql(Protocol):
    """Statements on one connection, inside its current transaction."""

    for_update: str
    """The words that lock selected rows, or nothing where the whole database is locked anyway."""

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement with `:name` parameters; return its rows, none if it has no result."""

    def each(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> list[Row]:
        """Run one statement that reads the table `rows`, made of `rows` with `columns`. An empty batch runs nothing."""

    def lock(self, keys: Sequence[int]) -> None:
        """Hold the lock of every key (64 bits, signed) until the transaction ends; sorted here, so that nobody deadlocks."""


class PostgresSql:
    """`Sql` on a psycopg connection."""

    for_update = " FOR UPDATE"

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._cursor = connection.cursor(binary=True)

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        self._cursor.execute(_for_psycopg(query), parameters or {})
        return self._cursor.fetchall() if self._cursor.description else []

    def each(self, query: str, columns: Mapping[str, ColumnType], rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        self._cursor.execute(_with_unnest(query, tuple(columns.items())), [list(column) for column in zip(*rows, strict=True)])
        return self._cursor.fetchall() if self._cursor.description else []

    def lock(self, keys: Sequence[int]) -> None:
        self._cursor.execute(
            "SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%s::bigint[]) AS key ORDER BY 1) AS sorted",
            [sorted(set(keys))],
        )


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

    def lock(self, keys: Sequence[int]) -> None:
        return None


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
