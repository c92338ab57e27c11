"""Middleware that turns errors into gRPC status: the only place where that happens.

It sits inside logging, metrics and tracing, which read `ServerCall.code`, and outside everything that may raise.
"""

import asyncio
import logging
from typing import Any

import grpc

from millrace.edge.middleware import Proceed, ServerCall
from millrace.edge.status import status_of

_LOG = logging.getLogger(__name__)


class ErrorsToStatus:
    """Ends a failed call with the status of its error; a bug is logged with its stack and told as INTERNAL without text.

    `retry_seconds` is what callers are asked to wait when something is unavailable.
    """

    def __init__(self, retry_seconds: float = 1.0) -> None:
        self._retry_seconds = retry_seconds

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Run the call and set its code, whatever happens."""
        try:
            answer = await proceed(call)
            call.code = call.status()
            return answer
        except grpc.aio.AbortError:
            call.code = call.status()
            raise
        except asyncio.CancelledError:
            call.code = _why_cancelled(call)
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises must end as a status
            await self._abort(call, error)

    async def _abort(self, call: ServerCall, error: Exception) -> None:
        status = status_of(error, self._retry_seconds)
        call.code = status.code
        if status.code is grpc.StatusCode.INTERNAL:
            _LOG.exception("call failed on a bug", extra={"rpc_method": call.method[1:]})
        await call.context.abort(status.code, status.text, trailing_metadata=status.trailers)


def _why_cancelled(call: ServerCall) -> grpc.StatusCode:
    left = call.context.time_remaining()
    return grpc.StatusCode.DEADLINE_EXCEEDED if left is not None and left <= 0 else grpc.StatusCode.CANCELLED
