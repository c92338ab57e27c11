"""What the edge needs from storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.saga import SagaState
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.order import Order, OrderStatus


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders to list, newest first: empty fields match all; `before` is where the last page ended (created at, order id)."""

    customer_id: str = ""
    status: OrderStatus | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


class OrderReader(Protocol):
    """Reads orders and sagas. Raises Unavailable when the database is away."""

    async def order(self, order_id: str) -> Order:
        """Return an order. Raises NotFound."""

    async def get(self, order_id: str) -> tuple[Order, SagaState]:
        """Return an order and its saga. Raises NotFound."""

    async def list(self, wanted: OrderFilter) -> Sequence[Order]:
        """Return orders, newest first."""


class Catalogue(Protocol):
    """Knows what can be ordered."""

    async def find(self, item_ids: Sequence[str]) -> Mapping[str, CatalogueItem]:
        """Return the items there are; unknown ones are absent."""
