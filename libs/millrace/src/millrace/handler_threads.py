"""Several threads for one handler: each key belongs to one of them, so that keys are handled at once and each in its order.

Owned by a Worker. With a single thread it is that thread, and a whole partition keeps its order.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from millrace.handler_thread import HandlerThread, Lane, Outcome, key_of, partition_of
from millrace.message import Record


class HandlerThreads:
    """Handles one batch at a time, as a HandlerThread does. `make(lane_of)` makes one of them."""

    def __init__(self, count: int, make: Callable[[Callable[[Record], Lane]], HandlerThread]) -> None:
        self._threads = [make(partition_of if count == 1 else key_of) for _ in range(count)]
        self._working: list[HandlerThread] = []

    @property
    def busy(self) -> bool:
        """Tell whether records are in hand."""
        return any(thread.busy for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def begin(self, records: Sequence[Record]) -> None:
        """Have records handled; there must be at least one. Call `outcome` until it says what became of them."""
        shares: Sequence[Sequence[Record]] = [records] if len(self._threads) == 1 else self._shares(records)
        self._working = []
        for thread, share in zip(self._threads, shares, strict=True):
            if share:
                thread.begin(share)
                self._working.append(thread)

    def interrupt(self) -> None:
        """Have it end behind the messages in hand."""
        for thread in self._threads:
            thread.interrupt()

    def outcome(self, timeout_seconds: float) -> Outcome | None:
        """Return what became of the records; None if they are not all done within `timeout_seconds`. Raises as HandlerThread does."""
        until = monotonic() + timeout_seconds
        whole = Outcome()
        for thread in self._working:
            part = thread.outcome(max(0.0, until - monotonic()))
            if part is None:
                return None
            whole.done += part.done
            whole.failed += part.failed
            whole.postponed += part.postponed
            whole.left += part.left
        return whole

    def end(self) -> None:
        """End the threads behind what they have in hand."""
        for thread in self._threads:
            thread.end()

    def _shares(self, records: Sequence[Record]) -> list[list[Record]]:
        shares: list[list[Record]] = [[] for _ in self._threads]
        for record in records:
            shares[hash(key_of(record)) % len(shares)].append(record)
        return shares
