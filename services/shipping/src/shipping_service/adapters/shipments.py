"""The read model of shipments: one row an order, written with the events and read by the edge."""

from collections.abc import Sequence

from millrace.clock import from_micros, micros
from millrace.pipeline.queries import Queries
from millrace.pipeline.staging import Change
from millrace.store.sql import ColumnType, Row, Sql
from shipping_service.application.ports import ShipmentView
from shipping_service.domain.shipment import Shipment, Status

_COLUMNS: dict[str, ColumnType] = {
    "order_id": "text", "customer_id": "text", "status": "text", "tracking_number": "text", "reason": "text",
    "expected_delivery_at": "bigint", "updated_at": "bigint",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_UPSERT = (
    f"INSERT INTO shipment ({_NAMES}) SELECT {_NAMES} FROM rows WHERE true ON CONFLICT (order_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "order_id")
)


class ShipmentsProjection:
    """Keeps the table `shipment`."""

    tables = ("shipment",)

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """Write each shipment as the batch left it."""
        latest = {change.stream: change for change in changes}
        sql.each(_UPSERT, _COLUMNS, [_row(change.state, micros(change.at)) for change in latest.values()])


class ShipmentTable:
    """Reads the table `shipment`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def get(self, order_id: str) -> ShipmentView | None:
        """Return one shipment, if there is one."""
        query = f"SELECT {_NAMES} FROM shipment WHERE order_id = :order_id"
        rows = await self._queries.run(lambda sql: sql.execute(query, {"order_id": order_id}))
        return _view(rows[0]) if rows else None

    async def page(self, *, status: Status | None, after: str, size: int) -> Sequence[ShipmentView]:
        """Return up to `size` shipments behind an order id, in order of their order's id."""
        only = "" if status is None else "status = :status AND "
        query = f"SELECT {_NAMES} FROM shipment WHERE {only}order_id > :after ORDER BY order_id LIMIT :size"
        parameters = {"status": status and status.value, "after": after, "size": size}
        return [_view(row) for row in await self._queries.run(lambda sql: sql.execute(query, parameters))]


def _row(shipment: Shipment, at: int) -> Row:
    expected = None if shipment.expected_delivery_at is None else micros(shipment.expected_delivery_at)
    return (
        shipment.order_id, shipment.customer_id, shipment.status.value, shipment.tracking_number, shipment.reason, expected, at,
    )  # fmt: skip


def _view(row: Row) -> ShipmentView:
    order_id, customer_id, status, tracking_number, reason, expected, at = row
    expected_at = None if expected is None else from_micros(expected)
    return ShipmentView(order_id, customer_id, Status(status), tracking_number, reason, expected_at, from_micros(at))
