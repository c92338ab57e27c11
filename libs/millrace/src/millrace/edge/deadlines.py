"""The deadline of the call in hand: taken from the caller, kept in a context variable, passed on to calls.

gRPC for Python does not pass deadlines on by itself. A call without one would wait for ever, so it is given the server's default;
streams are let live. Source: grpc.io, guides/deadlines.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import grpc

from millrace.edge.interceptor import Done, OutgoingCall
from millrace.edge.middleware import Proceed, ServerCall

_TOO_LATE = "the deadline passed before work began"
_deadline: ContextVar[float | None] = ContextVar("millrace_deadline", default=None)


def remaining_seconds() -> float | None:
    """Return the seconds left to the work in hand, negative when it is late, None when it has no deadline."""
    at = _deadline.get()
    return None if at is None else at - time.monotonic()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give the work inside a deadline, never a later one than it has."""
    at = time.monotonic() + seconds
    outer = _deadline.get()
    token = _deadline.set(at if outer is None else min(at, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


class IncomingDeadline:
    """Ends a call that comes too late before work begins, and a single-answer call without a deadline after `default_seconds`."""

    def __init__(self, default_seconds: float = 30.0) -> None:
        self._default_seconds = default_seconds

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Set the deadline for what runs inside. Each call is a task of its own, so the variable ends with it."""
        left = call.context.time_remaining()
        if left is None:
            return await proceed(call) if call.streaming else await self._bounded(call, proceed)
        if left <= 0:
            await call.context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, _TOO_LATE)
        _deadline.set(time.monotonic() + left)
        return await proceed(call)

    async def _bounded(self, call: ServerCall, proceed: Proceed) -> Any:
        _deadline.set(time.monotonic() + self._default_seconds)
        limit = asyncio.timeout(self._default_seconds)
        try:
            async with limit:
                return await proceed(call)
        except TimeoutError:
            if not limit.expired():
                raise
        return await call.context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {self._default_seconds} s")


class OutgoingDeadline:
    """Gives an outgoing call the least of its own time-out, what is left to the work in hand minus a margin, and the default.

    The margin lets this process answer before its own caller gives up. A stream only gets what it or the work in hand asks for.
    """

    def __init__(self, default_seconds: float = 10.0, margin_seconds: float = 0.05) -> None:
        self._default_seconds = default_seconds
        self._margin_seconds = margin_seconds

    def begin(self, call: OutgoingCall) -> Done | None:
        """Set the call's time-out. One that is over already still goes out, with none left, and so ends in DEADLINE_EXCEEDED."""
        left = remaining_seconds()
        if left is not None:
            left = max(left - self._margin_seconds, 0.0)
            call.timeout = left if call.timeout is None else min(call.timeout, left)
        elif call.timeout is None and not call.streaming:
            call.timeout = self._default_seconds
        return None
