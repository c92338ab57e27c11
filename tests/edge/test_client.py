"""Channels repeat only what is safe, and wait for a server when asked to."""

import asyncio
import json
import socket
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from millrace.edge.client import ChannelConfig, open_channel
from millrace.edge.keepalive import Keepalive
from millrace.edge.server import EdgeConfig
from millrace.errors import Invalid, Unavailable


@pytest.mark.parametrize(("idempotent", "tries"), [(("test.v1.Echo/Say",), 3), ((), 1)])
def test_only_idempotent_methods_are_sent_again(echo: Any, running: Any, idempotent: tuple[str, ...], tries: int) -> None:
    seen = 0

    async def say(request: StringValue, context: Any) -> StringValue:
        nonlocal seen
        seen += 1
        if seen < 3:
            raise Unavailable("not yet")
        return request

    async def scenario() -> str:
        config = ChannelConfig(idempotent_methods=idempotent, initial_backoff_seconds=0.01, max_backoff_seconds=0.05)
        async with running(echo(say=say, channel=config)) as edge:
            try:
                return str(await edge.say("done"))
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)

    assert asyncio.run(scenario()) == ("done" if idempotent else "UNAVAILABLE")
    assert seen == tries


def test_an_error_of_another_code_is_not_repeated(echo: Any, running: Any) -> None:
    seen = 0

    async def say(request: StringValue, context: Any) -> StringValue:
        nonlocal seen
        seen += 1
        raise Invalid([])

    async def scenario() -> None:
        async with running(echo(say=say, channel=ChannelConfig(idempotent_methods=("test.v1.Echo/Say",)))) as edge:
            with pytest.raises(grpc.aio.AioRpcError):
                await edge.say()

    asyncio.run(scenario())
    assert seen == 1


def test_a_call_can_wait_for_a_server_that_is_not_up_yet(echo: Any, running: Any) -> None:
    async def say(request: StringValue, context: Any) -> StringValue:
        return request

    async def scenario() -> bytes:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        async with open_channel(address, ChannelConfig(default_deadline_seconds=60)) as channel:
            say_there: Any = channel.unary_unary("/test.v1.Echo/Say")
            call = say_there(StringValue(value="x").SerializeToString(), wait_for_ready=True)
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                await asyncio.wait_for(channel.wait_for_state_change(state), 60)
            async with running(echo(say=say, config=EdgeConfig(address=address))):
                answer = await call
        assert isinstance(answer, bytes)
        return answer

    assert StringValue.FromString(asyncio.run(scenario())).value == "x"


def test_the_service_config_spreads_calls_and_names_methods() -> None:
    config = json.loads(ChannelConfig(idempotent_methods=("a.B/Get",)).service_config())
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["methodConfig"][0]["name"] == [{"service": "a.B", "method": "Get"}]
    assert config["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_clients_that_would_ping_too_often_are_refused_when_configured() -> None:
    with pytest.raises(Invalid, match="permitted_seconds"):
        Keepalive(seconds=10, permitted_seconds=10)
    client, server = dict(Keepalive().client_options()), dict(Keepalive().server_options())
    assert client["grpc.keepalive_time_ms"] > server["grpc.http2.min_recv_ping_interval_without_data_ms"]


@pytest.mark.parametrize(("permitted_seconds", "survives"), [(0.02, True), (60.0, False)])
def test_pings_of_an_open_stream_are_answered_when_permitted(
    echo: Any, running: Any, permitted_seconds: float, survives: bool
) -> None:
    async def tell(request: StringValue, context: Any) -> Any:
        yield request
        await asyncio.Event().wait()

    async def scenario() -> bool:
        server = Keepalive(seconds=120, permitted_seconds=permitted_seconds)
        client = Keepalive(seconds=0.1, permitted_seconds=0.05)
        config = EdgeConfig(address="127.0.0.1:0", keepalive=server, drain_seconds=0.1)
        async with running(echo(tell=tell, config=config, channel=ChannelConfig(keepalive=client))) as edge:
            stream = edge.tell()
            await stream.read()
            ended, _ = await asyncio.wait([asyncio.ensure_future(stream.code())], timeout=1.5 if survives else 10)
            return not ended

    assert asyncio.run(scenario()) is survives
