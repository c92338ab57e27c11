"""Reads the tables that `read_model` keeps."""

import msgspec

from inventory_service.application.ports import ReservationView
from inventory_service.domain.item import ItemState
from inventory_service.domain.reservation import Line, Status
from millrace.clock import from_micros
from millrace.pipeline.queries import Queries
from millrace.store.sql import Row

_ITEM = "item_id, name, currency, price_minor, active, sequence, on_hand, reserved, shipped, changed_at, moved_at"
_LINES = msgspec.json.Decoder(tuple[Line, ...])


class SqlReads:
    """`Reads` on the service's own store."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def is_empty(self) -> bool:
        """See `Reads`."""
        return not await self._queries.run(lambda sql: sql.execute("SELECT 1 FROM item LIMIT 1"))

    async def item(self, item_id: str) -> ItemState | None:
        """See `Reads`."""
        query = f"SELECT {_ITEM} FROM item WHERE item_id = :item_id"
        found = await self._queries.run(lambda sql: sql.execute(query, {"item_id": item_id}))
        return _state(found[0]) if found else None

    async def items(self, after: str, limit: int, *, active_only: bool = False) -> list[tuple[str, ItemState]]:
        """See `Reads`."""
        query = f"SELECT {_ITEM} FROM item WHERE item_id > :after AND active >= :least ORDER BY item_id LIMIT :limit"
        wanted = {"after": after, "least": int(active_only), "limit": limit}
        return [(row[0], _state(row)) for row in await self._queries.run(lambda sql: sql.execute(query, wanted))]

    async def reservation(self, order_id: str) -> ReservationView | None:
        """See `Reads`."""
        query = "SELECT order_id, status, lines, updated_at FROM reservation WHERE order_id = :order_id"
        found = await self._queries.run(lambda sql: sql.execute(query, {"order_id": order_id}))
        if not found:
            return None
        name, status, lines, updated_at = found[0]
        return ReservationView(name, Status(status), _LINES.decode(lines), from_micros(updated_at))


def _state(row: Row) -> ItemState:
    _, name, currency, price, active, sequence, on_hand, reserved, shipped, changed_at, moved_at = row
    return ItemState(
        name, currency, price, bool(active), sequence, on_hand, reserved, shipped, from_micros(changed_at), from_micros(moved_at)
    )
