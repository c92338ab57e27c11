"""Runs middleware around every incoming call, one code path for single answers and for streams.

gRPC's own interceptors exchange handlers, of which there are four kinds; here a middleware is one coroutine around a call, as in a
web framework. The chain is built once per method, so that a call costs some awaits and no wrapping.
"""

import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from millrace.errors import FieldViolation, Invalid

HEALTH = "/grpc.health.v1.Health/"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(slots=True)
class ServerCall:
    """One incoming call. `code` is what the caller gets; it is true once the call is over."""

    method: str
    streaming: bool
    context: Any
    request: Any
    started: float = field(default_factory=time.perf_counter)
    code: grpc.StatusCode = grpc.StatusCode.OK

    def metadata(self) -> dict[str, str]:
        """Return the caller's metadata that is text, the last of each name."""
        return {name: value for name, value in self.context.invocation_metadata() or () if isinstance(value, str)}

    def status(self) -> grpc.StatusCode:
        """Return the status set on gRPC's context so far, OK when none was."""
        code = self.context.code()
        return code if isinstance(code, grpc.StatusCode) else _CODES.get(code or 0, grpc.StatusCode.UNKNOWN)


Proceed: TypeAlias = Callable[[ServerCall], Awaitable[Any]]


class Middleware(Protocol):
    """Something done around each call: before and after `proceed`, or instead of it."""

    async def __call__(self, call: ServerCall, proceed: Proceed) -> Any:
        """Return what `proceed` returned: the answer, or None for a stream, whose answers are written by then."""


class MiddlewareChain(grpc.aio.ServerInterceptor):
    """The one interceptor of a server: the first middleware is the outermost."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._middleware = tuple(middleware)
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return the method's handler with the middleware around it; None stays None (UNIMPLEMENTED)."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(method, handler))
        return known[1]

    def _wrap(self, method: str, handler: Any) -> Any:
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        decode = None if handler.request_streaming else handler.request_deserializer
        run: Proceed = partial(_stream if handler.response_streaming else _single, behaviour, decode)
        for middleware in reversed(self._middleware):
            run = partial(_around, middleware, run)
        streaming = bool(handler.request_streaming or handler.response_streaming)

        async def handle(request: Any, context: Any) -> Any:
            return await run(ServerCall(method, streaming, context, request))

        return _HANDLERS[handler.request_streaming, handler.response_streaming](
            handle,
            request_deserializer=handler.request_deserializer if handler.request_streaming else None,
            response_serializer=handler.response_serializer,
        )


_HANDLERS: dict[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _around(middleware: Middleware, proceed: Proceed, call: ServerCall) -> Awaitable[Any]:
    return middleware(call, proceed)


def _decoded(decode: Callable[[bytes], Any] | None, request: Any) -> Any:
    if decode is None:
        return request
    try:
        return decode(request)
    except (DecodeError, UnicodeDecodeError) as fault:
        raise Invalid([FieldViolation("", "the request's bytes are not of the type this method takes")]) from fault


async def _single(behaviour: Any, decode: Callable[[bytes], Any] | None, call: ServerCall) -> Any:
    call.request = _decoded(decode, call.request)
    return await behaviour(call.request, call.context)


async def _stream(behaviour: Any, decode: Callable[[bytes], Any] | None, call: ServerCall) -> None:
    call.request = _decoded(decode, call.request)
    answers = behaviour(call.request, call.context)
    if inspect.isawaitable(answers):
        await answers
        return
    try:
        async for answer in answers:
            await call.context.write(answer)
    finally:
        await answers.aclose()
