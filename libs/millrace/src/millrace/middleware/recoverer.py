"""Turns any exception a handler did not mean into a PermanentError that carries the stack."""

import traceback
from collections.abc import Sequence

from millrace.errors import MillraceError, PermanentError
from millrace.handling import HandlerFunc
from millrace.message import Message
from millrace.pubsub import Outgoing


class Recovered(PermanentError):
    """A handler raised something that is no Millrace error. `stack` is the formatted traceback."""

    def __init__(self, error: Exception) -> None:
        self.stack = "".join(traceback.format_exception(error))
        super().__init__(f"{type(error).__name__}: {error}")


def recoverer(handler: HandlerFunc) -> HandlerFunc:
    """Raise Recovered, from the original, for every other exception; Millrace's own pass as they are."""

    def handle(message: Message) -> Sequence[Outgoing]:
        try:
            return handler(message)
        except MillraceError:
            raise
        except Exception as error:
            raise Recovered(error) from error

    return handle
