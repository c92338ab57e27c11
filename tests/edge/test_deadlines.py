"""Deadlines come in, bound the work, and go on to calls."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from millrace.edge.client import ChannelConfig
from millrace.edge.deadlines import IncomingDeadline, deadline, remaining_seconds
from millrace.edge.middleware import ServerCall


def test_a_handler_sees_its_callers_deadline_and_passes_less_on(echo: Any, running: Any) -> None:
    seen: list[float | None] = []

    async def scenario() -> None:
        async def inner(request: StringValue, context: Any) -> StringValue:
            seen.append(context.time_remaining())
            return request

        async with running(echo(say=inner)) as behind:

            async def outer(request: StringValue, context: Any) -> StringValue:
                seen.append(remaining_seconds())
                return StringValue(value=await behind.say(request.value))

            async with running(echo(say=outer)) as front:
                await front.say(timeout=5.0)

    asyncio.run(scenario())
    assert seen[0] is not None
    assert seen[1] is not None
    assert 4.0 < seen[1] <= seen[0] - 0.04 < 5.0
    assert remaining_seconds() is None


def test_a_call_without_deadline_gets_the_default_and_a_stream_none(echo: Any, running: Any) -> None:
    seen: list[float | None] = []

    async def say(request: StringValue, context: Any) -> StringValue:
        seen.append(remaining_seconds())
        await asyncio.Event().wait()
        return request

    async def tell(request: StringValue, context: Any) -> Any:
        seen.append(remaining_seconds())
        yield request

    async def scenario() -> None:
        async with running(echo(say=say, tell=tell, default_deadline_seconds=0.1)) as edge:
            async with grpc.aio.insecure_channel(edge.target) as bare:
                call: Any = bare.unary_unary("/test.v1.Echo/Say")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(b"")
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert [answer.value async for answer in edge.tell()] == ["hi"]

    asyncio.run(scenario())
    assert seen[0] is not None
    assert seen[0] <= 0.1
    assert seen[1] is None


def test_a_call_that_comes_too_late_does_no_work() -> None:
    class Late:
        def time_remaining(self) -> float:
            return -0.1

        async def abort(self, code: grpc.StatusCode, text: str) -> None:
            raise grpc.aio.AbortError(code.name)

    async def work(call: ServerCall) -> None:
        pytest.fail("work began")

    with pytest.raises(grpc.aio.AbortError, match="DEADLINE_EXCEEDED"):
        asyncio.run(IncomingDeadline()(ServerCall("/a/B", False, Late(), None), work))


def test_a_client_never_waits_for_ever(echo: Any, running: Any) -> None:
    async def silent(request: StringValue, context: Any) -> StringValue:
        await asyncio.Event().wait()
        return request

    async def scenario() -> grpc.StatusCode:
        async with running(echo(say=silent, channel=ChannelConfig(default_deadline_seconds=0.1))) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.say()
        return caught.value.code()

    assert asyncio.run(scenario()) is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_inner_deadline_is_never_later_than_the_outer_one() -> None:
    with deadline(1.0), deadline(60.0):
        left = remaining_seconds()
        assert left is not None
        assert left <= 1.0
