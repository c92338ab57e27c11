"""Dead letters of plain handlers: a copy of the record with its raw bytes, and in its headers what happened and where.

Made by the Router and the dead letter middleware; read by people and tools. The pipeline parks by its own table besides.
"""

from millrace.message import Record
from millrace.pubsub import RawOutgoing

SUFFIX = ".dlt"


def dead_letter(record: Record, error: Exception, *, handler: str, attempts: int) -> RawOutgoing:
    """Return the copy for `<topic>.dlt`: same key, value and headers, and `x-millrace-*` headers for the rest."""
    reason = {
        "x-millrace-error": f"{type(error).__name__}: {error}",
        "x-millrace-topic": record.topic,
        "x-millrace-partition": str(record.partition),
        "x-millrace-offset": str(record.offset),
        "x-millrace-attempts": str(attempts),
        "x-millrace-handler": handler,
    }
    headers = (*record.headers, *((name, value.encode(errors="replace")) for name, value in reason.items()))
    return RawOutgoing(record.topic + SUFFIX, record.key, record.value, headers)
