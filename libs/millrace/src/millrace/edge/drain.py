"""Middleware that ends open streams when the server drains, so that a watcher reconnects elsewhere instead of holding up the end."""

import asyncio
from typing import Any

from millrace.edge.middleware import HEALTH, Proceed, ServerCall
from millrace.errors import Unavailable


class StreamDrain:
    """Knows the open streams. Health watches are left alone: they tell their watchers themselves, then end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False

    def begin(self) -> None:
        """End every open stream, and each that opens later, with UNAVAILABLE."""
        self._draining = True
        for task in self._tasks:
            task.cancel()

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call; a stream that the drain cut short raises Unavailable."""
        if not call.streaming or call.method.startswith(HEALTH):
            return await proceed(call)
        task = asyncio.current_task()
        assert task is not None
        self._refuse_when_draining(task)
        self._tasks.add(task)
        try:
            return await proceed(call)
        except asyncio.CancelledError:
            if not call.context.done():
                self._refuse_when_draining(task)
            raise
        finally:
            self._tasks.discard(task)

    def _refuse_when_draining(self, task: asyncio.Task[Any]) -> None:
        if self._draining:
            task.uncancel()
            raise Unavailable("the server is shutting down") from None
