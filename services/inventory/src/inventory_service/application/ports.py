"""What inventory's edge needs from outside the application: answers about what stands in the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from inventory_service.domain.item import ItemState
from inventory_service.domain.reservation import Line, Status


@dataclass(frozen=True, slots=True)
class ReservationView:
    """A reservation as it is shown."""

    order_id: str
    status: Status
    lines: tuple[Line, ...]
    updated_at: datetime


class Reads(Protocol):
    """Questions to the read models. Each raises Unavailable when the database is away."""

    async def is_empty(self) -> bool:
        """Say whether the catalogue holds nothing."""

    async def item(self, item_id: str) -> ItemState | None:
        """Return an item, or None."""

    async def items(self, after: str, limit: int, *, active_only: bool = False) -> list[tuple[str, ItemState]]:
        """Return up to `limit` items behind an id, in order of id."""

    async def reservation(self, order_id: str) -> ReservationView | None:
        """Return an order's reservation, or None if it was never asked for."""
