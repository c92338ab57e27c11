"""Dead letters of plain handlers: a copy of the record with its raw bytes, and in its headers what happened and where.

Made by the Router and the dead letter middleware; read by people and tools. The pipeline parks by its own table besides.
"""

from typing import TypeAlias

from millrace.message import Record
from millrace.pubsub import RawOutgoing

SUFFIX = ".dlt"
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
