"""Timers: a row that becomes a `TimerFired` when due. A deadline that waits for its message's delivery has no due time yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.store.sql import ColumnType, Sql

_COLUMNS: Mapping[str, ColumnType] = {
    "id": "text", "grp": "text", "key": "text", "kind": "text", "attempt": "bigint", "delay": "bigint", "due_at": "bigint",
    "awaits": "text", "headers": "text",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of a key. Times are microseconds; `awaits` is the message whose delivery starts it, `due_at` None until then.

    `headers` is JSON: the trace and the correlation of what started it, for what it leads to.
    """

    id: str
    key: str
    kind: str
    attempt: int
    delay: int
    due_at: int | None
    awaits: str | None
    headers: str


class Timers:
    """The timers of one database, inside one transaction. A key's timers are changed only under the key's lock."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def start(self, group: str, timers: Sequence[Timer]) -> None:
        """Set timers; one with the same id is replaced."""
        self._sql.each(
            f"INSERT INTO timer ({_NAMES}) SELECT {_NAMES} FROM rows WHERE true ON CONFLICT (id) DO UPDATE SET "
            "attempt = excluded.attempt, delay = excluded.delay, due_at = excluded.due_at, awaits = excluded.awaits, "
            "headers = excluded.headers",
            _COLUMNS,
            [(t.id, group, t.key, t.kind, t.attempt, t.delay, t.due_at, t.awaits, t.headers) for t in timers],
        )

    def cancel(self, ids: Sequence[str]) -> None:
        """Remove timers; unknown ids are no fault."""
        self._sql.each("DELETE FROM timer WHERE id IN (SELECT id FROM rows)", {"id": "text"}, [(timer,) for timer in ids])

    def due(self, group: str, now: int, limit: int) -> list[Timer]:
        """Return timers that are due, the longest due first. To be locked by key, then asked for again with `still_due`."""
        found = self._sql.execute(
            "SELECT id, key, kind, attempt, delay, due_at, awaits, headers FROM timer WHERE grp = :grp AND due_at <= :now "
            "ORDER BY due_at LIMIT :limit",
            {"grp": group, "now": now, "limit": limit},
        )
        return [Timer(*row) for row in found]

    def take(self, timers: Sequence[Timer]) -> list[Timer]:
        """Remove timers and return those that were still there unchanged: what another worker fired meanwhile is left out."""
        taken = self._sql.each(
            "DELETE FROM timer WHERE EXISTS (SELECT 1 FROM rows WHERE rows.id = timer.id AND rows.due_at = timer.due_at) RETURNING id",
            {"id": "text", "due_at": "bigint"},
            [(timer.id, timer.due_at) for timer in timers],
        )
        ids = {row[0] for row in taken}
        return [timer for timer in timers if timer.id in ids]
