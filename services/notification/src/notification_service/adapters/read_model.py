"""Keeps the tables `notification` and `contact` beside the events they show."""

from collections.abc import Mapping, Sequence

from millrace.clock import micros
from millrace.pipeline.staging import Change
from millrace.store.sql import ColumnType, Sql
from notification_service.domain.contact import ContactSet
from notification_service.domain.notices import NotificationMade, NotificationSent

_NOTIFICATION: Mapping[str, ColumnType] = {
    "notification_id": "text", "order_id": "text", "customer_id": "text", "kind": "text", "channel": "text", "subject": "text",
    "body": "text", "created_at": "bigint",
}  # fmt: skip
_SENT: Mapping[str, ColumnType] = {"id": "text", "channel_used": "text", "at": "bigint"}
_CONTACT: Mapping[str, ColumnType] = {"customer_id": "text", "email": "text", "name": "text", "updated_at": "bigint"}


class ReadModel:
    """Writes what a batch changed, one statement a kind of change."""

    tables = ("notification", "contact")

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """See `Projection`."""
        events = [change.event for change in changes]
        listed = ", ".join(_NOTIFICATION)
        sql.each(
            f"INSERT INTO notification ({listed}) SELECT {listed} FROM rows WHERE true",
            _NOTIFICATION,
            [_row(event) for event in events if isinstance(event, NotificationMade)],
        )
        sql.each(
            "UPDATE notification SET channel = rows.channel_used, sent_at = rows.at FROM rows WHERE notification_id = rows.id",
            _SENT,
            [(e.notification_id, e.channel.value, micros(e.at)) for e in events if isinstance(e, NotificationSent)],
        )
        contacts = {e.customer_id: (e.customer_id, e.email, e.name, micros(e.at)) for e in events if isinstance(e, ContactSet)}
        sql.each(
            "INSERT INTO contact (customer_id, email, name, updated_at) SELECT customer_id, email, name, updated_at FROM rows WHERE true "
            "ON CONFLICT (customer_id) DO UPDATE SET email = excluded.email, name = excluded.name, updated_at = excluded.updated_at",
            _CONTACT,
            list(contacts.values()),
        )


def _row(event: NotificationMade) -> tuple[object, ...]:
    return (
        event.notification_id, event.order_id, event.customer_id, event.kind.value, event.channel.value, event.subject, event.body,
        micros(event.at),
    )  # fmt: skip
