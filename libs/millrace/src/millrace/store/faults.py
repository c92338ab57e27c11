"""What a database error means for the batch that met it: by exception class first, then by SQLSTATE or SQLite code.

psycopg's own refusals (a NUL in a string) and refused connections carry no SQLSTATE; sqlite3 raises OverflowError for a number of more
than 64 bits, and both drivers UnicodeEncodeError for half a surrogate pair.
"""

import sqlite3
from enum import Enum, auto

import psycopg

from millrace.errors import ProjectionFailed, VersionConflict


class Fault(Enum):
    """What to do."""

    DATA = auto()
    """Some message's content: find it, park it, commit the rest."""
    AGAIN = auto()
    """Another transaction was in the way: run the batch again."""
    AWAY = auto()
    """The database is not there, or cannot take more: keep the batch and wait."""
    BUG = auto()
    """None of these: not for the database layer to judge."""


_DATA_CLASSES = ("22", "23", "54")  # 54: too long for an index, for instance
_AGAIN_STATES = (
    "40001",
    "40P01",
    "40003",
)  # 40003: what became of the transaction is unknown; positions tell whoever runs it again
# A standby behind a fail-over that has not ended, an idle transaction that was cut off, a lock that another holds.
_AWAY_STATES = ("25006", "25P03", "55P03")
_AWAY_CLASSES = ("08", "53", "57", "58")
_SQLITE_AWAY = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY))
_SQLITE_AGAIN = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))


def classify(error: BaseException) -> Fault:
    """Say what a database error asks for."""
    if isinstance(error, VersionConflict):
        return Fault.AGAIN
    if isinstance(error, psycopg.Error):
        return _postgres(error)
    if isinstance(error, sqlite3.Error):
        return _sqlite(error)
    if isinstance(error, ProjectionFailed | OverflowError | UnicodeError):
        return Fault.DATA
    return Fault.BUG


def is_away(error: BaseException) -> bool:
    """Tell whether waiting and doing the same again may help."""
    return classify(error) in (Fault.AWAY, Fault.AGAIN)


def is_databases(error: BaseException) -> bool:
    """Tell whether an error is the database's or its driver's own, so that `classify` is to judge it."""
    return isinstance(error, psycopg.Error | sqlite3.Error | OverflowError | UnicodeError)


def _postgres(error: psycopg.Error) -> Fault:
    state = error.sqlstate
    if state is None:
        return Fault.DATA if isinstance(error, psycopg.DataError) else Fault.AWAY if _is_operational(error) else Fault.BUG
    if state in _AGAIN_STATES:
        return Fault.AGAIN
    if state[:2] in _DATA_CLASSES:
        return Fault.DATA
    return Fault.AWAY if state in _AWAY_STATES or state[:2] in _AWAY_CLASSES else Fault.BUG


def _is_operational(error: psycopg.Error) -> bool:
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _sqlite(error: sqlite3.Error) -> Fault:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return Fault.DATA
    if code is None:
        return Fault.BUG
    if code & 0xFF in _SQLITE_AGAIN:
        return Fault.AGAIN
    return Fault.AWAY if code & 0xFF in _SQLITE_AWAY else Fault.BUG
