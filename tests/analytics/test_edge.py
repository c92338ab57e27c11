"""Analytics' answers over a real gRPC server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from millrace.edge.client import status_violations
from shop.analytics.v1 import analytics_service_pb2 as pb
from shop.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from shop.order.v1 import order_messages_pb2 as order_pb
from shopkit.testing.bench import Bench


def call(bench: Bench, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with bench.edge() as channel:
            return await scenario(AnalyticsServiceStub(channel))

    return asyncio.run(run())


def summary(bench: Bench) -> pb.GetSummaryResponse:
    found: pb.GetSummaryResponse = call(bench, lambda stub: stub.GetSummary(pb.GetSummaryRequest()))
    return found


def stats(bench: Bench) -> pb.GetSagaStatsResponse:
    found: pb.GetSagaStatsResponse = call(bench, lambda stub: stub.GetSagaStats(pb.GetSagaStatsRequest()))
    return found


def fresh() -> str:
    return str(uuid4())


def test_an_empty_store_has_empty_answers(bench: Bench) -> None:
    assert summary(bench) == pb.GetSummaryResponse()
    assert stats(bench) == pb.GetSagaStatsResponse()


def test_the_summary_counts_orders_amounts_and_parcels(bench: Bench, about: Any) -> None:
    for minor, currency in ((500, "EUR"), (700, "EUR"), (90, "JPY")):
        messages = about(fresh(), minor=minor, currency=currency)
        bench.hear(messages["created"], messages["completed"], messages["delivered"])
    late = about(fresh(), reason="snow", currency="JPY", minor=10)
    bench.hear(late["created"], late["completed"])
    bench.hear(about(fresh())["created"], about(fresh())["cancelled"])
    found = summary(bench)
    assert {entry.status: entry.orders for entry in found.orders_by_status} == {
        order_pb.ORDER_STATUS_PENDING: 1,
        order_pb.ORDER_STATUS_CANCELLED: 1,
        order_pb.ORDER_STATUS_COMPLETED: 4,
    }
    assert (found.orders, found.delayed_orders, found.delivered_shipments, found.events) == (6, 1, 3, 13)
    assert [(money.currency, money.minor_units) for money in found.completed_amounts] == [("EUR", 1200), ("JPY", 100)]
    assert found.as_of.ToMicroseconds() > 0


def test_amounts_that_overflow_together_stay_at_the_most_there_is(bench: Bench, about: Any) -> None:
    for _ in range(3):
        bench.hear(about(fresh(), minor=2**62)["completed"])
    assert summary(bench).completed_amounts[0].minor_units == 2**63 - 1


def test_durations_are_percentiles_by_nearest_rank(bench: Bench, about: Any) -> None:
    for number in range(1, 101):
        messages = about(fresh(), seconds=number)
        bench.hear(messages["created"], messages["completed"])
    found = stats(bench)
    assert (found.completed, found.running) == (100, 0)
    seconds = [d.ToTimedelta().total_seconds() for d in (found.duration_p50, found.duration_p95, found.duration_p99)]
    assert [*seconds, found.duration_max.ToTimedelta().total_seconds()] == [50, 95, 99, 100]


def test_reasons_for_cancelling_are_counted_most_frequent_first(bench: Bench, about: Any) -> None:
    for reason in ("declined", "short", "short"):
        bench.hear(about(fresh(), reason=reason)["cancelled"])
    bench.hear(about(fresh())["confirmed"])
    found = stats(bench)
    assert [(entry.reason, entry.orders) for entry in found.cancel_reasons] == [("short", 2), ("declined", 1)]
    assert (found.running, found.completed, found.cancelled) == (1, 0, 3)
    assert not found.HasField("duration_p50")


def test_the_record_is_listed_whole_in_pages_as_it_came(bench: Bench, about: Any) -> None:
    first, second = fresh(), fresh()
    messages = [about(first)["created"], about(second)["created"], about(first)["scheduled"], about(first)["completed"]]
    for body in messages:
        bench.hear(body)

    async def pages(stub: Any, order_id: str) -> list[pb.RecordedEvent]:
        found: list[pb.RecordedEvent] = []
        token = ""
        while True:
            answer = await stub.ListEvents(pb.ListEventsRequest(order_id=order_id, page_size=2, page_token=token))
            found += answer.events
            token = answer.next_page_token
            if not token:
                return found

    async def scenario(stub: Any) -> Any:
        return await pages(stub, ""), await pages(stub, first)

    everything, of_first = call(bench, scenario)
    assert [event.payload for event in everything] == [body.SerializeToString(deterministic=True) for body in messages]
    assert [event.position for event in everything] == sorted({event.position for event in everything})
    assert [(event.topic, event.sequence) for event in of_first] == [
        ("order.created", 1),
        ("shipping.scheduled", 0),
        ("order.completed", 3),
    ]
    assert everything[0].type == "shop.order.v1.OrderCreatedEvent"
    assert everything[0].occurred_at == messages[0].created_at


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ListEventsRequest(order_id="7", page_size=-1), ["order_id", "page_size"]),
        (pb.ListEventsRequest(page_token="eA=="), ["page_token"]),
    ],
)
def test_bad_input_is_refused_by_field(bench: Bench, request_: pb.ListEventsRequest, fields: list[str]) -> None:
    async def scenario(stub: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListEvents(request_)
        return caught.value

    error = call(bench, scenario)
    assert (error.code().name, [v.field for v in status_violations(error)]) == ("INVALID_ARGUMENT", fields)
