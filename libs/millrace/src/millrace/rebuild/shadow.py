"""A session whose statements find twins, empty at first, in place of some tables. Everybody else goes on with the tables themselves.

The twins are temporary tables of one connection, which both databases find first where a statement says no schema. They vanish with the
connection, so that a rebuild that is broken off leaves nothing behind.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from millrace.store.contract import Session, Transaction
from millrace.store.sql import PostgresSql, Sql

_PLACES = ("position", "seq")
_NUMBERED = (*_PLACES, "transaction_id")
"""Columns that the tables fill themselves: what is put into them gets a place behind all they ever held."""
_NONE: Mapping[str, object] = MappingProxyType({})
_CREATE_TABLE = re.compile("^CREATE TABLE")
_CREATE_INDEX = re.compile("^CREATE (UNIQUE )?INDEX ")


class Shadow:
    """The twins of `tables`, on the connection of `session`, which is nobody else's. Not for a store in memory: its sessions share one."""

    def __init__(self, session: Session, tables: Sequence[str]) -> None:
        self._session = session
        self._tables = tables
        self._real: Mapping[str, str] = {}

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit when the block ends, roll back when it raises. Raises the database's error if the twins are gone with their connection."""
        with self._session.transaction() as tx:
            if self._real:
                for table in self._tables:
                    tx.sql.execute(f"SELECT 1 FROM {_temporary(tx.sql)}.{table} WHERE 1 = 0")
                yield tx
                return
            real = {table: _real(tx.sql, table) for table in self._tables}
            for table in self._tables:
                for statement in _twin(tx.sql, table, real[table]):
                    tx.sql.execute(statement)
            yield tx
        self._real = real

    def close(self) -> None:
        """Give the connection back, and with it the twins."""
        self._session.close()

    def real(self, table: str) -> str:
        """Return the name by which statements of this session find a table itself. Known once the first transaction has ended."""
        return self._real[table]

    def exclude_writers(self, sql: Sql) -> None:
        """Keep everybody else from writing to the tables until the transaction ends; who is at it is waited for. Readers are served."""
        if isinstance(sql, PostgresSql):
            for table in self._tables:
                sql.execute(f"LOCK TABLE {self._real[table]} IN EXCLUSIVE MODE")

    def replace(self, sql: Sql, table: str, only: str = "1 = 1", parameters: Mapping[str, object] = _NONE) -> None:
        """Put the twin's rows in place of the table's, both as far as the condition `only` holds."""
        columns = _columns(sql, table)
        kept = ", ".join(name for name in columns if name not in _NUMBERED)
        order = "".join(f" ORDER BY {name}" for name in columns if name in _PLACES)
        sql.execute(f"DELETE FROM {self._real[table]} WHERE {only}", parameters)
        sql.execute(f"INSERT INTO {self._real[table]} ({kept}) SELECT {kept} FROM {table} WHERE {only}{order}", parameters)


def _real(sql: Sql, table: str) -> str:
    if not isinstance(sql, PostgresSql):
        return f"main.{table}"
    found = sql.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = :table::regclass",
        {"table": table},
    )
    name: str = found[0][0]
    return name


def _twin(sql: Sql, table: str, real: str) -> Iterator[str]:
    """Yield the statements that make a twin with the columns, defaults, keys and indexes of a table."""
    if isinstance(sql, PostgresSql):
        yield f"CREATE TEMPORARY TABLE {table} (LIKE {real} INCLUDING ALL)"
        return
    found = sql.execute(
        "SELECT sql FROM main.sqlite_master WHERE tbl_name = :table AND type IN ('table', 'index') AND sql IS NOT NULL "
        "ORDER BY type DESC",
        {"table": table},
    )
    for (statement,) in found:
        temporary = _CREATE_TABLE.sub("CREATE TEMPORARY TABLE", statement, count=1)
        yield _CREATE_INDEX.sub(r"CREATE \1INDEX temp.", temporary, count=1)


def _columns(sql: Sql, table: str) -> list[str]:
    query = (
        "SELECT attname::text FROM pg_attribute WHERE attrelid = :table::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        if isinstance(sql, PostgresSql)
        else "SELECT name FROM pragma_table_info(:table, 'temp') ORDER BY cid"
    )
    return [name for (name,) in sql.execute(query, {"table": table})]


def _temporary(sql: Sql) -> str:
    return "pg_temp" if isinstance(sql, PostgresSql) else "temp"
