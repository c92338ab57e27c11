"""Reads the tables that `read_model` keeps."""

from millrace.clock import from_micros
from millrace.pipeline.queries import Queries
from millrace.store.sql import Row
from notification_service.application.ports import Filter, NotificationView
from notification_service.domain.contact import ContactState
from notification_service.domain.notices import Channel, Kind

_COLUMNS = "notification_id, order_id, customer_id, kind, channel, subject, body, created_at, sent_at"


class SqlReads:
    """`Reads` on the service's own store."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def notifications(self, wanted: Filter, limit: int) -> list[NotificationView]:
        """See `Reads`."""
        at, name = wanted.after
        parameters: dict[str, object] = {"at": at, "name": name, "limit": limit}
        conditions = ["(created_at, notification_id) > (:at, :name)"]
        for column, value in (("order_id", wanted.order_id), ("customer_id", wanted.customer_id)):
            if value:
                conditions.append(f"{column} = :{column}")
                parameters[column] = value
        where = " AND ".join(conditions)
        query = f"SELECT {_COLUMNS} FROM notification WHERE {where} ORDER BY created_at, notification_id LIMIT :limit"
        return [_view(row) for row in await self._queries.run(lambda sql: sql.execute(query, parameters))]

    async def contact(self, customer_id: str) -> ContactState | None:
        """See `Reads`."""
        query = "SELECT email, name FROM contact WHERE customer_id = :customer_id"
        found = await self._queries.run(lambda sql: sql.execute(query, {"customer_id": customer_id.lower()}))
        return ContactState(*found[0]) if found else None


def _view(row: Row) -> NotificationView:
    notification_id, order_id, customer_id, kind, channel, subject, body, created_at, sent_at = row
    return NotificationView(
        notification_id, order_id, customer_id, Kind(kind), Channel(channel), subject, body, from_micros(created_at),
        None if sent_at is None else from_micros(sent_at),
    )  # fmt: skip
