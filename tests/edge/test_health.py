"""Health tells the state of the process and of each dependency, and watchers hear of it."""

import asyncio
import threading
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millrace.edge.server import EdgeConfig

Status = health_pb2.HealthCheckResponse
NEEDS_DATABASE = EdgeConfig(address="127.0.0.1:0", needs=("database",))


def _stub(edge: Any) -> Any:
    return health_pb2_grpc.HealthStub(edge.channel)


async def _next(watch: Any) -> int:
    return int((await asyncio.wait_for(watch.read(), 5)).status)


def test_overall_health_follows_what_calls_need_and_not_the_rest(echo: Any, running: Any) -> None:
    async def scenario() -> None:
        async with running(echo(config=NEEDS_DATABASE)) as edge:
            health = _stub(edge)

            async def check(name: str) -> int:
                return int((await health.Check(health_pb2.HealthCheckRequest(service=name))).status)

            assert await check("") == Status.NOT_SERVING, "nobody has reported the database yet"
            edge.health.report("database", True, "")
            edge.health.report("kafka", False, "no broker")
            assert await check("") == Status.SERVING
            assert await check("test.v1.Echo") == Status.SERVING
            assert await check("kafka") == Status.NOT_SERVING
            everything = await health.List(health_pb2.HealthListRequest())  # type: ignore[attr-defined]
            assert set(everything.statuses) == {"", "test.v1.Echo", "database", "kafka"}
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await check("nobody")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


def test_a_watcher_hears_every_change_even_from_another_thread(echo: Any, running: Any) -> None:
    async def scenario() -> None:
        async with running(echo(config=NEEDS_DATABASE)) as edge:
            watch = _stub(edge).Watch(health_pb2.HealthCheckRequest(service=""))
            unknown = _stub(edge).Watch(health_pb2.HealthCheckRequest(service="kafka"))
            assert await _next(watch) == Status.NOT_SERVING
            assert await _next(unknown) == Status.SERVICE_UNKNOWN
            threading.Thread(target=edge.health.report, args=("database", True, "")).start()
            assert await _next(watch) == Status.SERVING
            edge.health.report("kafka", True, "")
            assert await _next(unknown) == Status.SERVING
            edge.health.report("database", False, "refused")
            assert await _next(watch) == Status.NOT_SERVING

    asyncio.run(scenario())


def test_draining_tells_watchers_ends_streams_and_lets_calls_finish(echo: Any, running: Any) -> None:
    async def scenario() -> None:
        begun, finish = asyncio.Event(), asyncio.Event()

        async def say(request: StringValue, context: Any) -> StringValue:
            begun.set()
            await finish.wait()
            return request

        async def tell(request: StringValue, context: Any) -> Any:
            yield request
            await asyncio.Event().wait()

        async with running(echo(say=say, tell=tell)) as edge:
            watch = _stub(edge).Watch(health_pb2.HealthCheckRequest(service=""))
            assert await _next(watch) == Status.SERVING
            stream = edge.tell()
            assert (await stream.read()).value == "hi"
            in_hand = asyncio.create_task(edge.say("slow"))
            await asyncio.wait_for(begun.wait(), 5)
            drained = asyncio.create_task(edge.server.drain())
            assert await _next(watch) == Status.NOT_SERVING
            assert await asyncio.wait_for(watch.read(), 5) is grpc.aio.EOF
            assert await asyncio.wait_for(stream.code(), 5) is grpc.StatusCode.UNAVAILABLE
            assert not drained.done()
            finish.set()
            assert await asyncio.wait_for(in_hand, 5) == "slow"
            await asyncio.wait_for(drained, 4)

    asyncio.run(scenario())
