"""Reads the table that `read_model` keeps, and the record itself: the events of the store."""

from datetime import timedelta

from analytics_service.application.ports import EventView, SagaStats, Summary
from analytics_service.domain.timeline import TIMELINE, OrderRecorded, OrderStatus, TimelineEvent
from millrace.clock import from_micros
from millrace.edge.validation import INT64_MAX
from millrace.eventstore.events import EventStore, StoredEvent
from millrace.pipeline.codec import StreamCodec
from millrace.pipeline.queries import Queries
from millrace.store.sql import Sql

_PERCENTILES = (50, 95, 99, 100)
# Sums of int64 may not fit int64, which makes both databases refuse: high and low parts are added up apart.
_PART = 1_000_000_000
_MOST_REASONS = 100
_CODEC = StreamCodec([TIMELINE])


class SqlReads:
    """`Reads` on the service's own store."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def summary(self) -> Summary:
        """See `Reads`."""
        return await self._queries.run(_summary)

    async def saga_stats(self) -> SagaStats:
        """See `Reads`."""
        return await self._queries.run(_saga_stats)

    async def events(self, order_id: str, after: tuple[int, int], limit: int) -> list[EventView]:
        """See `Reads`."""

        def read(sql: Sql) -> list[StoredEvent]:
            store = EventStore(sql)
            if not order_id:
                return store.read_all(after, limit)
            return [event for event in store.read(TIMELINE.stream(order_id)) if event.cursor > after][:limit]

        return [_view(event) for event in await self._queries.run(read)]


def _summary(sql: Sql) -> Summary:
    by_status = sql.execute("SELECT status, COUNT(*) FROM order_fact WHERE status IS NOT NULL GROUP BY status ORDER BY status")
    amounts = sql.execute(
        f"SELECT currency, CAST(SUM(amount_minor / {_PART}) AS BIGINT), CAST(SUM(amount_minor % {_PART}) AS BIGINT) "
        "FROM order_fact WHERE status = 'completed' GROUP BY currency ORDER BY currency"
    )
    delayed = sql.execute("SELECT COUNT(*) FROM order_fact WHERE is_delayed = 1 AND status = 'completed'")
    delivered = sql.execute("SELECT COUNT(*) FROM order_fact WHERE shipping = 'delivered'")
    events = sql.execute("SELECT CAST(COALESCE(SUM(messages), 0) AS BIGINT) FROM order_fact")
    last = sql.execute("SELECT recorded_at FROM event ORDER BY position DESC LIMIT 1")
    return Summary(
        orders_by_status=[(OrderStatus(status), count) for status, count in by_status],
        delayed_orders=delayed[0][0],
        completed_amounts=[(currency, min(high * _PART + low, INT64_MAX)) for currency, high, low in amounts],
        delivered_shipments=delivered[0][0],
        events=events[0][0],
        as_of=from_micros(last[0][0]) if last else None,
    )


def _saga_stats(sql: Sql) -> SagaStats:
    counts = {
        OrderStatus(status): count
        for status, count in sql.execute("SELECT status, COUNT(*) FROM order_fact WHERE status IS NOT NULL GROUP BY status")
    }
    finished: int = sql.execute("SELECT COUNT(*) FROM order_fact WHERE duration IS NOT NULL")[0][0]
    reasons = sql.execute(
        "SELECT reason, COUNT(*) FROM order_fact WHERE status = 'cancelled' GROUP BY reason ORDER BY 2 DESC, 1 LIMIT :most",
        {"most": _MOST_REASONS},
    )
    return SagaStats(
        running=counts.get(OrderStatus.PENDING, 0) + counts.get(OrderStatus.CONFIRMED, 0),
        completed=counts.get(OrderStatus.COMPLETED, 0),
        cancelled=counts.get(OrderStatus.CANCELLED, 0),
        durations=[_percentile(sql, percent, finished) for percent in _PERCENTILES] if finished else [],
        cancel_reasons=[(reason, count) for reason, count in reasons],
    )


def _percentile(sql: Sql, percent: int, count: int) -> timedelta:
    """Return the smallest duration that `percent` of all do not exceed (nearest rank)."""
    rank = -(-count * percent // 100) - 1
    query = "SELECT duration FROM order_fact WHERE duration IS NOT NULL ORDER BY duration LIMIT 1 OFFSET :rank"
    return timedelta(microseconds=sql.execute(query, {"rank": rank})[0][0])


def _view(stored: StoredEvent) -> EventView:
    event: TimelineEvent = _CODEC.event(stored)
    sequence = event.sequence if isinstance(event, OrderRecorded) else 0
    return EventView(stored.cursor, event.order_id, sequence, event.record, from_micros(stored.recorded_at))
