"""What analytics' edge asks of the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from analytics_service.domain.timeline import OrderStatus, Recorded


@dataclass(frozen=True, slots=True)
class Summary:
    """How many orders stand where, and what the completed ones are worth, by currency in minor units."""

    orders_by_status: Sequence[tuple[OrderStatus, int]]
    delayed_orders: int
    completed_amounts: Sequence[tuple[str, int]]
    delivered_shipments: int
    events: int
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class SagaStats:
    """How orders ended. `durations` holds the 50th, 95th, 99th and 100th percentile; empty if no order is finished."""

    running: int
    completed: int
    cancelled: int
    durations: Sequence[timedelta]
    cancel_reasons: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class EventView:
    """A recorded message. `cursor` is its place, from which the next page begins."""

    cursor: tuple[int, int]
    order_id: str
    sequence: int
    record: Recorded
    recorded_at: datetime


class Reads(Protocol):
    """Questions to the query models and the record. Each raises Unavailable when the database is away."""

    async def summary(self) -> Summary:
        """Return the summary over all orders."""

    async def saga_stats(self) -> SagaStats:
        """Return how orders ended."""

    async def events(self, order_id: str, after: tuple[int, int], limit: int) -> list[EventView]:
        """Return up to `limit` recorded messages behind a place, of one order or (empty) of all."""
