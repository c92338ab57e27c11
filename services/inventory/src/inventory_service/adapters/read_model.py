"""Keeps the tables `item` and `reservation` beside the events they show."""

from collections.abc import Mapping, Sequence

import msgspec

from inventory_service.domain.item import ITEM, ItemState
from inventory_service.domain.reservation import RESERVATION, ReservationState
from millrace.clock import micros
from millrace.pipeline.staging import Change
from millrace.store.sql import ColumnType, Sql

_ITEM: Mapping[str, ColumnType] = {
    "item_id": "text", "name": "text", "currency": "text", "price_minor": "bigint", "active": "bigint", "sequence": "bigint",
    "on_hand": "bigint", "reserved": "bigint", "shipped": "bigint", "changed_at": "bigint", "moved_at": "bigint",
}  # fmt: skip
_RESERVATION: Mapping[str, ColumnType] = {"order_id": "text", "status": "text", "lines": "text", "updated_at": "bigint"}


class ReadModel:
    """Writes the last state of each stream a batch touched, one statement a table."""

    tables = ("item", "reservation")

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """See `Projection`."""
        last = {change.stream: change.state for change in changes}
        items = [(_id(s), state) for s, state in last.items() if s.startswith(f"{ITEM.category}-")]
        reservations = [state for s, state in last.items() if s.startswith(f"{RESERVATION.category}-")]
        sql.each(_upsert("item", _ITEM), _ITEM, [_item_row(item_id, state) for item_id, state in items])
        sql.each(_upsert("reservation", _RESERVATION), _RESERVATION, [_reservation_row(state) for state in reservations])


def _id(stream: str) -> str:
    return stream.partition("-")[2]


def _item_row(item_id: str, item: ItemState) -> tuple[object, ...]:
    return (
        item_id, item.name, item.currency, item.price_minor, int(item.active), item.sequence, item.on_hand, item.reserved,
        item.shipped, micros(item.changed_at), micros(item.moved_at),
    )  # fmt: skip


def _reservation_row(state: ReservationState) -> tuple[object, ...]:
    return state.order_id, state.status.value, msgspec.json.encode(state.lines).decode(), micros(state.updated_at)


def _upsert(table: str, columns: Mapping[str, ColumnType]) -> str:
    """Return the statement that writes rows by their first column."""
    names = list(columns)
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    listed = ", ".join(names)
    return f"INSERT INTO {table} ({listed}) SELECT {listed} FROM rows WHERE true ON CONFLICT ({names[0]}) DO UPDATE SET {sets}"
