"""Traces, metrics and the call log of the edge."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context, use_span

from millrace.edge.client import ChannelConfig
from millrace.edge.interceptor import OutgoingCall
from millrace.edge.tracing import ClientTracing, correlation_id, trace_headers
from millrace.errors import NotFound
from millrace.testing.log_lines import log_lines

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_and_its_correlation_go_through_two_servers(echo: Any, running: Any) -> None:
    seen: list[tuple[str, str | None]] = []

    async def scenario() -> list[Any]:
        async def inner(request: StringValue, context: Any) -> StringValue:
            seen.append((trace_headers()["traceparent"], correlation_id()))
            return request

        channel = ChannelConfig(tracers=TracerProvider())
        async with running(echo(say=inner, channel=channel)) as behind:

            async def outer(request: StringValue, context: Any) -> StringValue:
                seen.append((trace_headers()["traceparent"], correlation_id()))
                return StringValue(value=await behind.say(request.value))

            async with running(echo(say=outer)) as front:
                await front.say(metadata=(("traceparent", PARENT), ("x-correlation-id", "order-7")))
                return [*front.spans.get_finished_spans(), *behind.spans.get_finished_spans()]

    spans = asyncio.run(scenario())
    assert [(header.split("-")[1], correlation) for header, correlation in seen] == [(PARENT.split("-")[1], "order-7")] * 2
    assert [span.name for span in spans] == ["test.v1.Echo/Say"] * 2
    assert spans[0].attributes["rpc.grpc.status_code"] == 0


def test_an_unsampled_trace_is_passed_on_unsampled() -> None:
    call = OutgoingCall("/a.B/C", False, None, [])
    parent = NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0)))
    with use_span(parent):
        ClientTracing(TracerProvider(sampler=ALWAYS_OFF)).begin(call)
    assert dict(call.metadata)["traceparent"].endswith("-00")  # type: ignore[arg-type]
    assert set_span_in_context(parent)


@pytest.mark.parametrize("streaming", [False, True])
def test_each_call_is_measured_and_logged_with_its_code(
    echo: Any, running: Any, caplog: pytest.LogCaptureFixture, streaming: bool
) -> None:
    async def say(request: StringValue, context: Any) -> StringValue:
        raise NotFound("none")

    async def tell(request: StringValue, context: Any) -> Any:
        yield request
        yield request

    async def scenario() -> Any:
        async with running(echo(say=say, tell=tell)) as edge:
            if streaming:
                assert len([answer async for answer in edge.tell()]) == 2
            else:
                with pytest.raises(Exception, match="none"):
                    await edge.say()
            await edge.server.drain()
            return edge.registry

    with caplog.at_level(logging.INFO, "millrace.edge.calls"):
        registry = asyncio.run(scenario())
    method, code = ("test.v1.Echo/Tell", "OK") if streaming else ("test.v1.Echo/Say", "NOT_FOUND")
    assert registry.get_sample_value("millrace_rpc_duration_seconds_count", {"method": method, "code": code}) == 1
    line = next(record for record in caplog.records if record.getMessage() == "call ended")
    assert (line.__dict__["rpc_method"], line.__dict__["rpc_code"]) == (method, code)


@pytest.mark.parametrize("metadata", [(), (("x-correlation-id", "no fit"),), (("x-correlation-id", "call-1"),)])
def test_every_line_written_in_a_call_names_it(echo: Any, running: Any, metadata: Any) -> None:
    heard: list[str | None] = []

    async def say(request: StringValue, context: Any) -> StringValue:
        logging.getLogger("servicer").info("the servicer speaks")
        heard.append(correlation_id())
        raise KeyError("bug")

    async def scenario() -> None:
        async with running(echo(say=say)) as edge:
            with pytest.raises(grpc.aio.AioRpcError):
                await edge.say(metadata=(("traceparent", PARENT), *metadata))
            await edge.server.drain()

    with log_lines() as lines:
        asyncio.run(scenario())
    assert [line["message"] for line in lines.all()] == ["the servicer speaks", "call failed on a bug", "call ended"]
    assert {line["trace"]["id"] for line in lines.all()} == {PARENT.split("-")[1]}
    assert len({line["span"]["id"] for line in lines.all()}) == 1
    assert {line["rpc"]["method"] for line in lines.all()} == {"test.v1.Echo/Say"}
    assert [line["labels"]["correlation_id"] for line in lines.all()] == heard * 3
    assert ("call-1" in heard) == (metadata == (("x-correlation-id", "call-1"),))


def test_a_cancelled_call_is_measured_as_cancelled(echo: Any, running: Any) -> None:
    async def scenario() -> Any:
        begun = asyncio.Event()

        async def say(request: StringValue, context: Any) -> StringValue:
            begun.set()
            await asyncio.Event().wait()
            return request

        async with running(echo(say=say)) as edge:
            call = asyncio.create_task(edge.say())
            await asyncio.wait_for(begun.wait(), 5)
            call.cancel()
            await edge.server.drain()
            return edge.registry

    labels = {"method": "test.v1.Echo/Say", "code": "CANCELLED"}
    assert asyncio.run(scenario()).get_sample_value("millrace_rpc_duration_seconds_count", labels) == 1
