"""Answers analytics' calls. It only reads."""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from analytics_service.application.ports import EventView, Reads, SagaStats
from analytics_service.domain.timeline import OrderStatus
from analytics_service.edge.validation import read_page
from millrace.edge.validation import write_page_token
from shop.analytics.v1 import analytics_service_pb2 as pb
from shop.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceServicer
from shop.order.v1 import order_messages_pb2 as order_pb
from shopkit.mapping import to_money, to_timestamp

_STATUS: Mapping[OrderStatus, order_pb.OrderStatus.ValueType] = {
    OrderStatus.PENDING: order_pb.ORDER_STATUS_PENDING,
    OrderStatus.CONFIRMED: order_pb.ORDER_STATUS_CONFIRMED,
    OrderStatus.CANCELLED: order_pb.ORDER_STATUS_CANCELLED,
    OrderStatus.COMPLETED: order_pb.ORDER_STATUS_COMPLETED,
}


class AnalyticsServicer(AnalyticsServiceServicer):
    """The edge of the analytics service."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def GetSummary(self, request: pb.GetSummaryRequest, context: grpc.ServicerContext) -> pb.GetSummaryResponse:
        """Return how many orders stand where."""
        found = await self._reads.summary()
        return pb.GetSummaryResponse(
            orders_by_status=[pb.StatusCount(status=_STATUS[s], orders=n) for s, n in found.orders_by_status],
            orders=sum(count for _, count in found.orders_by_status),
            delayed_orders=found.delayed_orders,
            completed_amounts=[to_money(currency, minor) for currency, minor in found.completed_amounts],
            delivered_shipments=found.delivered_shipments,
            events=found.events,
            as_of=None if found.as_of is None else to_timestamp(found.as_of),
        )

    async def GetSagaStats(self, request: pb.GetSagaStatsRequest, context: grpc.ServicerContext) -> pb.GetSagaStatsResponse:
        """Return how sagas ended and how long they took."""
        return _stats(await self._reads.saga_stats())

    async def ListEvents(self, request: pb.ListEventsRequest, context: grpc.ServicerContext) -> pb.ListEventsResponse:
        """Return a page of the record."""
        after, size = read_page(request)
        found = await self._reads.events(request.order_id, after, size + 1)
        token = write_page_token("{} {}".format(*found[size - 1].cursor)) if len(found) > size else ""
        return pb.ListEventsResponse(events=[_event(view) for view in found[:size]], next_page_token=token)


def _stats(found: SagaStats) -> pb.GetSagaStatsResponse:
    p50, p95, p99, longest = (_duration(time) for time in found.durations) if found.durations else (None,) * 4
    return pb.GetSagaStatsResponse(
        running=found.running,
        completed=found.completed,
        cancelled=found.cancelled,
        duration_p50=p50,
        duration_p95=p95,
        duration_p99=p99,
        duration_max=longest,
        cancel_reasons=[pb.ReasonCount(reason=reason, orders=count) for reason, count in found.cancel_reasons],
    )


def _duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration


def _event(view: EventView) -> pb.RecordedEvent:
    return pb.RecordedEvent(
        position=view.cursor[1],
        message_id=view.record.message_id,
        type=view.record.type,
        topic=view.record.topic,
        order_id=view.order_id,
        sequence=view.sequence,
        payload=view.record.payload,
        occurred_at=to_timestamp(view.record.occurred_at),
        recorded_at=to_timestamp(view.recorded_at),
    )
