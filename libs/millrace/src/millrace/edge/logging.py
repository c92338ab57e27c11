"""Writes one line per incoming call."""

import logging
import time
from typing import Any

from millrace.edge.middleware import HEALTH, Proceed, ServerCall
from millrace.edge.tracing import correlation_id

_LOG = logging.getLogger("millrace.edge.calls")


class CallLog:
    """Logs method, code and duration of each call at `level`; health checks, which come every few seconds, at DEBUG."""

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call, then log it. Inside tracing, so that the line carries the ids of the trace."""
        try:
            return await proceed(call)
        finally:
            level = logging.DEBUG if call.method.startswith(HEALTH) else self._level
            if _LOG.isEnabledFor(level):
                _LOG.log(level, "call ended", extra=_fields(call))


def _fields(call: ServerCall) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rpc_method": call.method[1:],
        "rpc_code": call.code.name,
        "duration_ms": round((time.perf_counter() - call.started) * 1000, 2),
    }
    order_id = getattr(call.request, "order_id", None)
    if isinstance(order_id, str) and order_id:
        fields["order_id"] = order_id[:64]
    if (correlation := correlation_id()) is not None:
        fields["correlation_id"] = correlation
    return fields
