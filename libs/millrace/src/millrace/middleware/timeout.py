"""Gives a handler a deadline, which it reads, and measures whether it was kept.

Python cannot interrupt a function that computes or waits: the deadline is cooperative. Handlers pass `remaining_seconds()` on to what
they call. One that comes back late has failed all the same, as its caller's patience is over.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic

from millrace.errors import TransientError
from millrace.handling import HandlerFunc
from millrace.message import Message
from millrace.pubsub import Outgoing

_deadline: ContextVar[float | None] = ContextVar("millrace_deadline", default=None)


class DeadlinePassed(TransientError):
    """A handler took longer than it was given."""


def remaining_seconds() -> float | None:
    """Return the time left for the message in hand, 0 if it is over, None if no deadline was set."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - monotonic())


@dataclass(frozen=True, slots=True)
class Timeout:
    """Sets a deadline of `seconds` for each message. Raises DeadlinePassed if the handler returns after it; its outputs are dropped."""

    seconds: float

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler."""

        def handle(message: Message) -> Sequence[Outgoing]:
            deadline = monotonic() + self.seconds
            token = _deadline.set(deadline)
            try:
                outputs = handler(message)
            finally:
                _deadline.reset(token)
            late = monotonic() - deadline
            if late > 0:
                raise DeadlinePassed(f"{late:.3f} s after its {self.seconds:g} s")
            return outputs

        return handle
