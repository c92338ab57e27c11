"""Passes the correlation id on, and names the input as the cause of each output.

Source: CloudEvents correlation extension (`correlationid`, `causationid`).
"""

from collections.abc import Sequence

from millrace.handling import HandlerFunc
from millrace.message import CAUSATION_ID, CORRELATION_ID, Message
from millrace.middleware.outputs import with_headers
from millrace.pubsub import Outgoing


def correlation(handler: HandlerFunc) -> HandlerFunc:
    """Set both ids on outputs that lack them. A message without a correlation id starts one: its own id."""

    def handle(message: Message) -> Sequence[Outgoing]:
        outputs = handler(message)
        if not outputs:
            return outputs
        return with_headers(outputs, {CORRELATION_ID: message.headers.get(CORRELATION_ID, message.id), CAUSATION_ID: message.id})

    return handle
