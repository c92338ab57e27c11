"""Runs steps before and after every outgoing call, single answers and streams alike.

grpc.aio takes an interceptor for one kind of call only, the first it finds, so there are two thin ones over the same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import grpc

Done: TypeAlias = Callable[[grpc.StatusCode], None]


@dataclass(slots=True)
class OutgoingCall:
    """One call before it goes out; steps change `timeout` (seconds) and add to `metadata`."""

    method: str
    streaming: bool
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]


class OutgoingStep(Protocol):
    """Something done to each outgoing call."""

    def begin(self, call: OutgoingCall) -> Done | None:
        """Change the call before it goes out; what is returned is called once with its code when it is over."""


class _Steps:
    def __init__(self, steps: Sequence[OutgoingStep]) -> None:
        self._steps = tuple(steps)

    async def _run(self, continuation: Any, details: Any, request: Any, streaming: bool) -> Any:
        method = details.method if isinstance(details.method, str) else details.method.decode()
        call = OutgoingCall(method, streaming, details.timeout, list(details.metadata or ()))
        endings = [done for step in self._steps if (done := step.begin(call)) is not None]
        changed = grpc.aio.ClientCallDetails(
            details.method, call.timeout, grpc.aio.Metadata(*call.metadata), details.credentials, details.wait_for_ready
        )
        sent = await continuation(changed, request)
        if endings:
            sent.add_done_callback(lambda over: _end(endings, over))
        return sent


def _end(endings: Sequence[Done], over: Any) -> None:
    # A finished grpc.aio call knows its code at once, though it only offers it through a coroutine.
    answer, code = over.code(), grpc.StatusCode.UNKNOWN
    try:
        answer.send(None)
    except StopIteration as known:
        code = known.value
    finally:
        answer.close()
    for done in endings:
        done(code)


class SingleAnswer(_Steps, grpc.aio.UnaryUnaryClientInterceptor):
    """The steps around calls with one request and one answer."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Run the steps, then the call."""
        return await self._run(continuation, client_call_details, request, streaming=False)


class StreamedAnswer(_Steps, grpc.aio.UnaryStreamClientInterceptor):
    """The steps around calls with one request and a stream of answers."""

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Run the steps, then the call."""
        return await self._run(continuation, client_call_details, request, streaming=True)
