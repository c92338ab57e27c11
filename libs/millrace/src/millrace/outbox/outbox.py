"""The outbox: a queue of messages in the database, written in the transaction of the change they tell of.

It is a queue and not a log: rows are read by id and deleted once delivered, so a lower id that commits late is still found.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from millrace.clock import micros, utc_now
from millrace.store.sql import ColumnType, Sql

_COLUMNS: Mapping[str, ColumnType] = {
    "topic": "text", "key": "bytea", "payload": "bytea", "headers": "bytea", "message_id": "text",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_NOT_LEFT_OUT = (
    "WHERE topic NOT IN (SELECT topic FROM rows WHERE key IS NULL AND id = 0) AND id NOT IN (SELECT id FROM rows WHERE id > 0) "
    "AND (key IS NULL OR (topic, key) NOT IN (SELECT topic, key FROM rows WHERE key IS NOT NULL))"
)
_LEFT_OUT: Mapping[str, ColumnType] = {"topic": "text", "key": "bytea", "id": "bigint"}

Lane: TypeAlias = tuple[str, bytes | None]
"""A topic and key, within which order is kept; without a key there is none."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message ready for the wire. `headers` is the MessagePack of name and value pairs; `id` is 0 until stored."""

    topic: str
    key: bytes | None
    payload: bytes | None
    headers: bytes
    message_id: str
    id: int = 0

    @property
    def lane(self) -> Lane:
        """The topic and key, within which this message keeps its place."""
        return self.topic, self.key


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a look at the outbox leaves out: all of some topics, all of some lanes that have a key, and single messages by id.

    Together at most 10,000, which is what one statement takes.
    """

    topics: Collection[str] = ()
    lanes: Collection[Lane] = ()
    ids: Collection[int] = ()

    def rows(self) -> list[tuple[str, bytes | None, int]]:
        """Return it as a table: a topic alone, a topic and key, or an id alone (above 0)."""
        whole = [(topic, None, 0) for topic in self.topics]
        return [*whole, *((topic, key, 0) for topic, key in self.lanes), *(("", None, number) for number in self.ids)]


class Outbox:
    """The outbox of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def add(self, rows: Sequence[OutboxRow], now: int | None = None) -> None:
        """Queue messages in order, as of `now` (microseconds), or else of the present."""
        queued_at = micros(utc_now()) if now is None else now
        self._sql.each(
            f"INSERT INTO outbox ({_NAMES}, queued_at) SELECT {_NAMES}, queued_at FROM rows",
            {**_COLUMNS, "queued_at": "bigint"},
            [(row.topic, row.key, row.payload, row.headers, row.message_id, queued_at) for row in rows],
        )

    def head(self, limit: int, left_out: LeftOut | None = None) -> list[OutboxRow]:
        """Return the oldest `limit` messages that are not left out, oldest first.

        What is left out is passed over in the database, in one walk along the ids: it hides nothing, however much it is.
        """
        rows = [] if left_out is None else left_out.rows()
        if rows:
            found = self._sql.each(
                f"SELECT {_NAMES}, id FROM outbox {_NOT_LEFT_OUT} ORDER BY id LIMIT {limit:d}", _LEFT_OUT, rows
            )
        else:
            found = self._sql.execute(f"SELECT {_NAMES}, id FROM outbox ORDER BY id LIMIT :limit", {"limit": limit})
        return [OutboxRow(*row) for row in found]

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

    def backlog(self, most: int) -> tuple[int, int | None]:
        """Return how many messages wait, counted up to `most`, and since when (microseconds) the longest of those does."""
        count, since = self._sql.execute(
            "SELECT count(*), min(queued_at) FROM (SELECT queued_at FROM outbox ORDER BY id LIMIT :most) AS oldest",
            {"most": most},
        )[0]
        return int(count), since
