"""Copies for `<topic>.dlt`: a record's raw bytes, and in its headers what happened and where; and notes that a letter is settled.

Made by the Router, the dead letter middleware, the pipeline, which parks in its store besides, and `millrace dlt`. `docs/wire-format.md`
has every header.
"""

from typing import TypeAlias

from millrace.message import Record
from millrace.pubsub import RawOutgoing

SUFFIX = ".dlt"
PREFIX = "x-millrace-"
PARKED = "x-millrace-parked"
"""On a copy whose original is parked in a store: names this death of it."""
FOR = "x-millrace-for"
"""On a record sent to its topic again: the one handler that is to take it; all others pass it over."""
SETTLES = "x-millrace-settles"
"""On a note that a letter is settled: what PARKED says on the copy, or else `partition/offset` of the copy."""
RawHeaders: TypeAlias = tuple[tuple[str, bytes | None], ...]


def reason_headers(record: Record, reason: str, *, handler: str, attempts: int) -> RawHeaders:
    """Return a record's headers and, behind them, why it is dead and where it stood."""
    why = {
        "x-millrace-error": reason,
        "x-millrace-topic": record.topic,
        "x-millrace-partition": str(record.partition),
        "x-millrace-offset": str(record.offset),
        "x-millrace-attempts": str(attempts),
        "x-millrace-handler": handler,
    }
    return (*record.headers, *((name, value.encode(errors="replace")) for name, value in why.items()))


def dead_letter(record: Record, error: Exception, *, handler: str, attempts: int) -> RawOutgoing:
    """Return the copy for `<topic>.dlt`: same key, value and headers, and `x-millrace-*` headers for the rest."""
    headers = reason_headers(record, f"{type(error).__name__}: {error}", handler=handler, attempts=attempts)
    return RawOutgoing(record.topic + SUFFIX, record.key, record.value, headers)


def parked_name(record: Record, group: str, died_at: int) -> str:
    """Return the name of one death of a parked message, the same whenever it is asked for; `died_at` in microseconds."""
    return f"{group} {record.topic}/{record.partition}/{record.offset} {died_at}"


def settling_headers(settles: str, outcome: str, by: str) -> RawHeaders:
    """Return the headers of a note that a letter was `redriven` or `discarded`, and by whom."""
    note = {SETTLES: settles, "x-millrace-outcome": outcome, "x-millrace-by": by}
    return tuple((name, value.encode(errors="replace")) for name, value in note.items())


def addressee(record: Record) -> str | None:
    """Return the one handler that a record was sent again for, if it was."""
    return next((value.decode(errors="replace") for name, value in record.headers if name == FOR and value), None)


def without_reasons(headers: RawHeaders) -> RawHeaders:
    """Return the headers a record had before it died."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))
