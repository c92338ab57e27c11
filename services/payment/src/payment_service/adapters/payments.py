"""The read model of payments: one row an order, written with the events and read by the edge."""

from collections.abc import Sequence

from millrace.clock import from_micros, micros
from millrace.pipeline.queries import Queries
from millrace.pipeline.staging import Change
from millrace.store.sql import ColumnType, Row, Sql
from payment_service.application.ports import PaymentView
from payment_service.domain.payment import Payment, Status

_COLUMNS: dict[str, ColumnType] = {
    "order_id": "text", "customer_id": "text", "currency": "text", "amount_minor": "bigint", "status": "text",
    "charged_minor": "bigint", "refunded_minor": "bigint", "reason": "text", "updated_at": "bigint",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_UPSERT = (
    f"INSERT INTO payment ({_NAMES}) SELECT {_NAMES} FROM rows WHERE true ON CONFLICT (order_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "order_id")
)


class PaymentsProjection:
    """Keeps the table `payment`: charged less refunded is what is kept."""

    tables = ("payment",)

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """Write each payment as the batch left it."""
        latest = {change.stream: change for change in changes}
        sql.each(_UPSERT, _COLUMNS, [_row(change.state, micros(change.at)) for change in latest.values()])


class PaymentTable:
    """Reads the table `payment`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def get(self, order_id: str) -> PaymentView | None:
        """Return one payment, if there is one."""
        query = f"SELECT {_NAMES} FROM payment WHERE order_id = :order_id"
        rows = await self._queries.run(lambda sql: sql.execute(query, {"order_id": order_id}))
        return _view(rows[0]) if rows else None

    async def page(self, *, status: Status | None, after: str, size: int) -> Sequence[PaymentView]:
        """Return up to `size` payments behind an order id, in order of their order's id."""
        only = "" if status is None else "status = :status AND "
        query = f"SELECT {_NAMES} FROM payment WHERE {only}order_id > :after ORDER BY order_id LIMIT :size"
        parameters = {"status": status and status.value, "after": after, "size": size}
        return [_view(row) for row in await self._queries.run(lambda sql: sql.execute(query, parameters))]


def _row(payment: Payment, at: int) -> Row:
    return (
        payment.order_id, payment.customer_id, payment.currency, payment.amount_minor, payment.status.value, payment.charged_minor,
        payment.refunded_minor, payment.reason, at,
    )  # fmt: skip


def _view(row: Row) -> PaymentView:
    order_id, customer_id, currency, amount, status, charged, refunded, reason, at = row
    return PaymentView(order_id, customer_id, currency, amount, Status(status), charged, refunded, reason, from_micros(at))
