"""Waiting on a condition with a bound, in place of sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.01


def eventually(
    condition: Callable[[], T],
    within_seconds: float = 10.0,
    describe: Callable[[], object] | None = None,
    *,
    every_seconds: float = 0.1,
) -> T:
    """Return the first true value of `condition()`, asked for in quick succession at first and then `every_seconds`.

    Raises AssertionError after `within_seconds`, saying what was seen last: `describe()` if given, else the condition's value. An
    AssertionError inside the condition counts as not yet true, and is what was seen.
    """
    give_up_at = time.monotonic() + within_seconds
    pause_seconds = min(_FIRST_PAUSE_SECONDS, every_seconds)
    while True:
        try:
            seen: object = condition()
            if seen:
                return seen  # type: ignore[return-value]
        except AssertionError as refused:
            seen = refused
        if time.monotonic() >= give_up_at:
            raise AssertionError(f"not within {within_seconds:g} s; last seen: {describe() if describe else seen!r}")
        time.sleep(pause_seconds)
        pause_seconds = min(1.5 * pause_seconds, every_seconds)
