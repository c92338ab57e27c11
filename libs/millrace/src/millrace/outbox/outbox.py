"""The outbox: a queue of messages in the database, written in the transaction of the change they tell of.

It is a queue and not a log: rows are read by id and deleted once delivered, so a lower id that commits late is still found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.store.sql import ColumnType, Sql

_COLUMNS: Mapping[str, ColumnType] = {
    "topic": "text", "key": "bytea", "payload": "bytea", "headers": "bytea", "message_id": "text",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message ready for the wire. `headers` is the MessagePack of name and value pairs; `id` is 0 until stored."""

    topic: str
    key: bytes | None
    payload: bytes | None
    headers: bytes
    message_id: str
    id: int = 0


class Outbox:
    """The outbox of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def add(self, rows: Sequence[OutboxRow]) -> None:
        """Queue messages in order."""
        self._sql.each(
            f"INSERT INTO outbox ({_NAMES}) SELECT {_NAMES} FROM rows",
            _COLUMNS,
            [(row.topic, row.key, row.payload, row.headers, row.message_id) for row in rows],
        )

    def head(self, limit: int, skip: Sequence[int] = ()) -> list[OutboxRow]:
        """Return the oldest `limit` messages that are not in `skip`, oldest first."""
        found = self._sql.execute(f"SELECT {_NAMES}, id FROM outbox ORDER BY id LIMIT :limit", {"limit": limit + len(skip)})
        unwanted = set(skip)
        return [OutboxRow(*row) for row in found if row[5] not in unwanted][:limit]

    def delivered(self, rows: Sequence[OutboxRow], now: int) -> None:
        """Remove messages the broker has, and let the deadlines that waited for them begin at `now`."""
        self._sql.each("DELETE FROM outbox WHERE id IN (SELECT id FROM rows)", {"id": "bigint"}, [(row.id,) for row in rows])
        self._sql.each(
            "UPDATE timer SET due_at = rows.now + timer.delay, awaits = NULL FROM rows WHERE timer.awaits = rows.message_id",
            {"message_id": "text", "now": "bigint"},
            [(row.message_id, now) for row in rows],
        )

    def size(self) -> int:
        """Return how many messages wait."""
        return int(self._sql.execute("SELECT count(*) FROM outbox")[0][0])
