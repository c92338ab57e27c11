"""Time as the pipeline reads it: a clock that tests can replace, and microseconds for the database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from millrace.message import utc_now

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present as an aware UTC time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

__all__ = ["Clock", "duration_micros", "from_micros", "micros", "utc_now"]


def micros(time: datetime) -> int:
    """Return microseconds since 1970 in UTC."""
    return (time - _EPOCH) // _MICROSECOND


def duration_micros(duration: timedelta) -> int:
    """Return a duration in microseconds."""
    return duration // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Return the aware UTC time of microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND
