"""A retry budget, so that retries cannot multiply the load on a part that is already struggling.

Source: gRFC A6 (retry throttling) and Finagle's RetryBudget.
"""

import threading


class RetryBudget:
    """A bucket of tokens: each first attempt puts `ratio` in, each retry takes one out. Safe to use from any thread.

    It starts full, at `capacity`; in the long run at most `ratio` retries are made per call.
    """

    def __init__(self, *, capacity: float = 10.0, ratio: float = 0.2) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._ratio = ratio
        self._tokens = capacity

    def deposit(self) -> None:
        """Count a first attempt."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take a retry out and return True, or return False when nothing is left."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def left(self) -> float:
        """Return the tokens left."""
        with self._lock:
            return self._tokens
