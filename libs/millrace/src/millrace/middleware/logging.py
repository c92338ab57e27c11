"""Logs each message and how it ended."""

import logging
from collections.abc import Sequence
from time import perf_counter

from millrace.errors import Postponed
from millrace.handling import HandlerFunc, current_delivery
from millrace.message import CORRELATION_ID, Message
from millrace.pubsub import Outgoing

log = logging.getLogger(__name__)


def log_messages(handler: HandlerFunc) -> HandlerFunc:
    """Log success at DEBUG and errors at WARNING, which are raised on; nothing of a postponed message.

    Inside tracing, so that lines carry the trace's ids.
    """

    def handle(message: Message) -> Sequence[Outgoing]:
        started = perf_counter()
        try:
            outputs = handler(message)
        except Postponed:
            raise
        except Exception as error:
            log.warning(
                "message failed in handler", extra=_fields(message, started) | {"reason": f"{type(error).__name__}: {error}"}
            )
            raise
        if log.isEnabledFor(logging.DEBUG):
            log.debug("message handled", extra=_fields(message, started) | {"outputs": len(outputs)})
        return outputs

    return handle


def _fields(message: Message, started: float) -> dict[str, str | int | float]:
    fields: dict[str, str | int | float] = {
        "message_id": message.id,
        "message_type": message.type,
        "message_key": message.key or "",
        "duration_ms": round((perf_counter() - started) * 1000, 3),
    }
    if CORRELATION_ID in message.headers:
        fields["correlation_id"] = message.headers[CORRELATION_ID]
    delivery = current_delivery.get(None)
    if delivery is not None:
        record = delivery.record
        fields |= {"handler": delivery.handler, "topic": record.topic, "partition": record.partition, "offset": record.offset}
    return fields
