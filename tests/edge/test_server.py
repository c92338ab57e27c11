"""Reflection, limits and the address of a server."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from millrace.edge.server import EdgeConfig


async def _echo(request: StringValue, context: Any) -> StringValue:
    return request


def test_reflection_lists_the_services(echo: Any, running: Any) -> None:
    async def scenario() -> set[str]:
        async with running(echo(say=_echo)) as edge:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(edge.channel)
            ask = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            async for answer in stub.ServerReflectionInfo(ask):
                return {service.name for service in answer.list_services_response.service}
        return set()

    assert asyncio.run(scenario()) == {"test.v1.Echo", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_a_request_of_ten_megabytes_is_refused(echo: Any, running: Any) -> None:
    async def scenario() -> grpc.StatusCode:
        async with running(echo(say=_echo)) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.say("x" * 10_000_000)
            assert await edge.say("still here") == "still here"
            return caught.value.code()

    assert asyncio.run(scenario()) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_beyond_the_limit_are_refused(echo: Any, running: Any) -> None:
    async def scenario() -> grpc.StatusCode:
        async def tell(request: StringValue, context: Any) -> Any:
            yield request
            await asyncio.Event().wait()

        config = EdgeConfig(address="127.0.0.1:0", max_concurrent_calls=1)
        async with running(echo(say=_echo, tell=tell, config=config)) as edge:
            stream = edge.tell()
            await stream.read()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.say()
            return caught.value.code()

    assert asyncio.run(scenario()) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_address_in_use_is_an_os_error(echo: Any, running: Any) -> None:
    async def scenario() -> None:
        async with running(echo(say=_echo)) as edge:
            with pytest.raises(OSError, match="cannot listen"):
                async with running(echo(say=_echo, config=EdgeConfig(address=edge.target))):
                    pytest.fail("two servers on one address")

    asyncio.run(scenario())
