"""What errors become on the wire, for single answers and streams."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from millrace import errors
from millrace.edge.client import status_violations
from millrace.edge.validation import Violations


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.NotFound("no order 7"), "NOT_FOUND", "no order 7"),
        (errors.AlreadyExists("other content"), "ALREADY_EXISTS", "other content"),
        (errors.Refused("shipped"), "FAILED_PRECONDITION", "shipped"),
        (errors.Unavailable("database away"), "UNAVAILABLE", "database away"),
        (errors.OutcomeUnknown("silent"), "UNAVAILABLE", "silent"),
        (errors.Undecodable("raw"), "INTERNAL", "internal error"),
        (ValueError("password=1234"), "INTERNAL", "internal error"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_each_error_becomes_its_status(
    echo: Any, running: Any, caplog: pytest.LogCaptureFixture, error: Exception, code: str, text: str, streaming: bool
) -> None:
    async def say(request: StringValue, context: Any) -> StringValue:
        raise error

    async def tell(request: StringValue, context: Any) -> Any:
        yield request
        raise error

    async def scenario() -> grpc.aio.AioRpcError:
        async with running(echo(say=say, tell=tell)) as edge:
            stream = edge.tell("first")
            assert (await stream.read()).value == "first"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (stream.read() if streaming else edge.say())
            return caught.value

    refused = asyncio.run(scenario())
    assert (refused.code().name, refused.details()) == (code, text)
    stacks = [r for r in caplog.records if r.exc_info and r.levelno == logging.ERROR]
    assert bool(stacks) is (code == "INTERNAL")


def test_a_refused_request_names_every_field(echo: Any, running: Any) -> None:
    async def say(request: StringValue, context: Any) -> StringValue:
        found = Violations()
        found.uuid("customer_id", "x")
        found.quantity("items[0].quantity", 0)
        found.raise_if_any()
        return request

    async def scenario() -> grpc.aio.AioRpcError:
        async with running(echo(say=say)) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.say()
            return caught.value

    refused = asyncio.run(scenario())
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in status_violations(refused)] == ["customer_id", "items[0].quantity"]


def test_bytes_of_another_type_are_an_invalid_argument(echo: Any, running: Any) -> None:
    async def say(request: StringValue, context: Any) -> StringValue:
        return request

    async def scenario() -> grpc.aio.AioRpcError:
        async with running(echo(say=say)) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.channel.unary_unary("/test.v1.Echo/Say")(b"\x0a\xff\xff")
            return caught.value

    assert asyncio.run(scenario()).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_status_without_details_has_no_violations(echo: Any, running: Any) -> None:
    async def scenario() -> grpc.aio.AioRpcError:
        async with running(echo()) as edge:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await edge.say()
            return caught.value

    unknown_method = asyncio.run(scenario())
    assert unknown_method.code() is grpc.StatusCode.UNIMPLEMENTED
    assert status_violations(unknown_method) == ()
