"""A plain handler, what wraps it, and what it may ask about the record in hand.

Shared by the Router and every middleware. Neither brokers nor the pipeline of `millrace.pipeline` appear here.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from threading import Event
from time import monotonic
from typing import TypeAlias

from millrace.errors import Postponed
from millrace.message import Message, Record
from millrace.observability.in_hand import record_fields
from millrace.pubsub import Outgoing

HandlerFunc: TypeAlias = Callable[[Message], Sequence[Outgoing]]
"""Handles one message and returns what to publish. An error raised means: not done."""

ConsumerFunc: TypeAlias = Callable[[Message], None]
"""Handles one message that leads to no other."""

Middleware: TypeAlias = Callable[[HandlerFunc], HandlerFunc]
"""Wraps a handler in another."""


class Delivery:
    """The record a handler's thread has in hand, and how often it was tried.

    One object for each handler's thread, changed from record to record: an allocation and a context change per message would cost
    more than the question is worth. Read it while the handler runs; never keep it.
    """

    __slots__ = ("_interrupted", "attempts", "handler", "record")

    def __init__(self, handler: str, record: Record, interrupted: Event | None = None) -> None:
        self.handler = handler
        self.record = record
        self.attempts = 1
        self._interrupted = interrupted or Event()

    def wait(self, seconds: float) -> None:
        """Wait before handling. Raises Postponed, with the time that is left, once the Router wants the handler's thread back."""
        until = monotonic() + seconds
        if self._interrupted.wait(seconds):
            raise Postponed(max(0.0, until - monotonic()))

    def log_fields(self) -> dict[str, object]:
        """Return the fields of log lines about the record in hand. See `millrace.observability.in_hand`."""
        return record_fields(self.record) | {"handler": self.handler}


current_delivery: ContextVar[Delivery] = ContextVar("millrace_current_delivery")
"""The delivery in hand. Set by the Router in each handler's thread; raises LookupError elsewhere."""
