"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta


class SkippingClock:
    """Returns the same aware UTC time until it is told to skip. It can stand wherever a `millrace.clock.Clock` is asked for."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def __call__(self) -> datetime:
        """Return the time."""
        return self._now

    def skip(self, duration: timedelta) -> None:
        """Move on. Raises ValueError for a negative duration: time does not run back here."""
        if duration < timedelta():
            raise ValueError("time does not run back")
        self._now += duration
