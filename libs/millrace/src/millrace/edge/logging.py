"""Writes one line per incoming call."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from millrace.edge.middleware import HEALTH, Proceed, ServerCall
from millrace.edge.tracing import correlation_id
from millrace.observability.in_hand import in_hand, order_fields

_LOG = logging.getLogger("millrace.edge.calls")


class CallLog:
    """Logs method, code and duration of each call at `level`; health checks, which come every few seconds, at DEBUG.

    Every other line written while a call is in hand carries its method, its correlation id and the order it names.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call, then log it. Inside tracing, so that lines carry the ids of the trace; each call is a task of its own."""
        in_hand.set(_CallInHand(call))
        try:
            return await proceed(call)
        finally:
            level = logging.DEBUG if call.method.startswith(HEALTH) else self._level
            if _LOG.isEnabledFor(level):
                milliseconds = round((time.perf_counter() - call.started) * 1000, 2)
                _LOG.log(
                    level,
                    "call ended",
                    extra={"rpc_method": call.method[1:], "rpc_code": call.code.name, "duration_ms": milliseconds},
                )


@dataclass(frozen=True, slots=True)
class _CallInHand:
    call: ServerCall

    def log_fields(self) -> dict[str, object]:
        fields = {"rpc_method": self.call.method[1:], **order_fields(self.call.request)}
        if (correlation := correlation_id()) is not None:
            fields["correlation_id"] = correlation
        return fields
