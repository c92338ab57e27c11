"""What becomes of a message that failed: tried again later, or dead with a copy for people; never lost, never in the way of others."""

from dataclasses import dataclass
from datetime import timedelta

import msgspec
from tenacity import RetryCallState, Retrying, wait_exponential

from millrace.clock import duration_micros
from millrace.dead_letters import PARKED, SUFFIX, parked_name, reason_headers
from millrace.errors import TransientError
from millrace.inbox.parked import ParkedMessage
from millrace.message import Record, new_id
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.inputs import Input, pack_record

_MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Back-off of transient failures: doubling from `first_delay` to `max_delay`; dead after `max_attempts`."""

    max_attempts: int = 12
    first_delay: timedelta = timedelta(milliseconds=200)
    max_delay: timedelta = timedelta(minutes=1)

    def delay_micros(self, attempt: int) -> int:
        """Return how long to wait behind the attempt of this number (from 1)."""
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempt
        seconds = wait_exponential(self.first_delay.total_seconds(), self.max_delay.total_seconds())(state)
        return duration_micros(timedelta(seconds=seconds))


def park(source: Input, error: Exception, policy: RetryPolicy, now: int, *, blocks: bool) -> ParkedMessage:
    """Return the parked row of a message that failed: to be retried if the error is transient and attempts are left, else dead.

    What nobody could read, or has a handler for, is not to block its key: nothing that comes later can depend on it.
    """
    assert source.record is not None
    attempt = 1 if source.parked is None else source.parked.attempt + 1
    retry = isinstance(error, TransientError) and attempt < policy.max_attempts
    reason = describe(error)
    return ParkedMessage(
        key=source.key,
        record=source.parked.record if source.parked else pack_record(source.record),
        topic=source.record.topic,
        attempt=attempt,
        due_at=now + policy.delay_micros(attempt) if retry else now,
        state="retry" if retry else "dead",
        blocks=blocks,
        reason=reason,
        parked_at=source.parked.parked_at if source.parked else now,
        seq=source.parked.seq if source.parked else 0,
    )


def park_behind(source: Input, now: int) -> ParkedMessage:
    """Return the parked row of a message whose key is blocked: not tried yet, due as soon as it is the head."""
    assert source.record is not None
    return ParkedMessage(
        source.key, pack_record(source.record), source.record.topic, 0, now, "retry", True, "behind a parked message", now
    )


def describe(error: Exception) -> str:
    """Return an error as one line of bounded length, without what no database column takes."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "\\0")
    return text.encode(errors="backslashreplace").decode()[:_MAX_REASON]


def dead_letter(record: Record, group: str, parked: ParkedMessage) -> OutboxRow:
    """Return the copy that goes to `<topic>.dlt`: raw key and value, the headers as they came, and why and where it failed."""
    headers = (
        *reason_headers(record, parked.reason, handler=group, attempts=parked.attempt),
        (PARKED, parked_name(record, group, parked.due_at).encode(errors="replace")),
    )
    return OutboxRow(record.topic + SUFFIX, record.key, record.value, msgspec.msgpack.encode(headers), new_id())
