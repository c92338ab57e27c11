"""An event loop on a clock that skips: what sleeps an hour wakes as soon as the clock is moved an hour.

It runs coroutines and nothing else: no sockets, no signals, no processes. What is handed to an executor runs at once, on this thread.
"""

import asyncio
import contextvars
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

from millrace.clock import Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Context = contextvars.Context
_RESOLUTION_SECONDS = 2e-6


class SkippingLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order they became ready, only while `run_due` is called."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._soon: deque[asyncio.Handle] = deque()
        self._later: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.failures: list[BaseException] = []
        """What tasks raised that nobody waited for."""

    def run_due(self) -> bool:
        """Run all that is ready or due, and what becomes ready by it; return whether that was anything."""
        ran = False
        events._set_running_loop(self)
        try:
            while (handle := self._next()) is not None:
                if not handle.cancelled():
                    ran = True
                    handle._run()
            return ran
        finally:
            events._set_running_loop(None)

    def next_due(self) -> timedelta | None:
        """Return how long it is until something more is due; None if nothing is."""
        while self._later and self._later[0][2].cancelled():
            heapq.heappop(self._later)
        return timedelta(seconds=max(0.0, self._later[0][0] - self.time())) if self._later else None

    def time(self) -> float:
        return self._clock().timestamp()

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._later, (when, next(self._numbers), handle))
        return handle

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "exception" in context:
            self.failures.append(context["exception"])

    def _next(self) -> asyncio.Handle | None:
        """Return what runs next: all that follows from one moment comes before the next one's, though both are past."""
        if self._soon:
            return self._soon.popleft()
        if self._later and (self._later[0][2].cancelled() or self._later[0][0] <= self.time() + _RESOLUTION_SECONDS):
            return heapq.heappop(self._later)[2]
        return None

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: a cancelled timer is dropped when it comes up."""
