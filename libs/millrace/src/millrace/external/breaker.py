"""A circuit breaker that threads and tasks may share, over the `circuitbreaker` library.

The library counts without a lock and lets everybody through when half open; here one probe goes first.
"""

import threading
from time import monotonic
from types import TracebackType

from circuitbreaker import CircuitBreaker

from millrace.errors import Postponed, TransientError, Unavailable


class Breaker:
    """Refuses calls once `failures` in a row failed, for `recovery_seconds`; then one probe decides. Safe to use from any thread.

    Only TransientError counts as failure: a part that refuses is there. Postponed tells nothing: the part was not asked.
    """

    def __init__(self, name: str, *, failures: int = 5, recovery_seconds: float = 10.0) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._inner = CircuitBreaker(failures, recovery_seconds, TransientError, name)
        self._probing = False
        self._recovery_seconds = recovery_seconds
        self._asked_again_at = 0.0

    def state(self) -> str:
        """Return "closed", "open" or "half_open"."""
        with self._lock:
            return str(self._inner.state)

    def wait_seconds(self) -> float:
        """Return how long an open breaker refuses calls yet, 0 if it is not open."""
        with self._lock:
            return max(0.0, self._asked_again_at - monotonic())

    def attempt(self) -> "Attempt":
        """Let one call through. Raises Unavailable while the breaker is open, or half open with its probe under way."""
        with self._lock:
            if self._inner.opened or self._probing:
                raise Unavailable(f"{self._name} is away; not asked again yet")
            probe = not self._inner.closed
            self._probing = probe
        return Attempt(self, probe)

    def _ended(self, error: BaseException | None, probe: bool) -> None:
        with self._lock:
            if probe:
                self._probing = False
            if error is None or (isinstance(error, Exception) and not isinstance(error, Postponed)):
                self._inner.__exit__(type(error) if error is not None else None, error, None)
                self._asked_again_at = monotonic() + self._recovery_seconds if self._inner.opened else 0.0


class Attempt:
    """One call let through: a context manager that tells the breaker how it ended. A cancelled call tells nothing."""

    __slots__ = ("_breaker", "_probe")

    def __init__(self, breaker: Breaker, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._breaker._ended(error, self._probe)
