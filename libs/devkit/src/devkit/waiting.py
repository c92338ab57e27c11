"""Waiting for a condition with a bound, used by everything that starts something."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    timeout_seconds: float,
    seen: Callable[[], str] = str,
    interval_seconds: float = 0.05,
) -> None:
    """Return once `condition()` is true. Raises TimeoutError that names `what` and what `seen()` says."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what}: not within {timeout_seconds:g} s. {seen()}".rstrip())
        time.sleep(interval_seconds)
