"""Takes a message that cannot succeed out of the way: a copy to `<topic>.dlt`, and the partition flows on.

For plain handlers, whose order it gives up: later messages of the same key are handled. Handlers with state park the key instead.
"""

import logging
from collections.abc import Sequence

from millrace.dead_letters import dead_letter
from millrace.errors import Postponed, TransientError
from millrace.handling import HandlerFunc, current_delivery
from millrace.message import Message
from millrace.pubsub import Outgoing, Publisher

log = logging.getLogger(__name__)


class DeadLetter:
    """Publishes the raw record with the error and where it came from, then counts the message as done.

    A TransientError that reaches it is out of attempts: it is dead too with `exhausted`, else raised, so that the message comes again
    later. Raises what the publisher raises; the message then comes again.
    """

    def __init__(self, publisher: Publisher, *, exhausted: bool = True) -> None:
        self._publisher = publisher
        self._exhausted = exhausted

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler. Outside a Router there is no record to copy, and calling it raises LookupError."""

        def handle(message: Message) -> Sequence[Outgoing]:
            try:
                return handler(message)
            except Postponed:
                raise
            except Exception as error:
                if isinstance(error, TransientError) and not self._exhausted:
                    raise
                self._bury(message, error)
                return ()

        return handle

    def _bury(self, message: Message, error: Exception) -> None:
        delivery = current_delivery.get()
        copy = dead_letter(delivery.record, error, handler=delivery.handler, attempts=delivery.attempts)
        self._publisher.publish([copy])
        log.error(
            "message dead-lettered",
            extra={"handler": delivery.handler, "topic": delivery.record.topic, "message_id": message.id, "reason": str(error)},
        )
