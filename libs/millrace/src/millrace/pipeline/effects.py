"""Effects: calls to the outside that were decided and are not done yet.

A row is committed with the decision, leased by the process that makes the call, and removed with the outcome. A process that dies
lets its lease run out; another one then repeats the call under the same id, which is its idempotency key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from millrace.observability.in_hand import origin_fields
from millrace.store.sql import ColumnType, Sql

_COLUMNS: Mapping[str, ColumnType] = {
    "id": "text", "grp": "text", "key": "text", "kind": "text", "request": "text", "headers": "text", "leased_until": "bigint",
    "attempt": "bigint",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_HEADERS = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class PendingEffect:
    """A call to make: `kind` names the request's class, `request` and `headers` are its JSON; `seq` (0 until stored) keeps order in a key.

    `attempt` is how often its outcome was refused.
    """

    id: str
    key: str
    kind: str
    request: str
    headers: str
    seq: int = 0
    attempt: int = 0

    def log_fields(self) -> dict[str, object]:
        """Return the fields of log lines about it. See `millrace.observability.in_hand`."""
        fields = origin_fields(_HEADERS.decode(self.headers))
        return fields | {"message_key": self.key, "effect_id": self.id, "effect_kind": self.kind}


class Effects:
    """The pending effects of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def add(self, group: str, effects: Sequence[PendingEffect], leased_until: int) -> None:
        """Record effects, leased to this process; one that is already there is left as it is."""
        self._sql.each(
            f"INSERT INTO effect ({_NAMES}) SELECT {_NAMES} FROM rows WHERE true ON CONFLICT DO NOTHING",
            _COLUMNS,
            [(e.id, group, e.key, e.kind, e.request, e.headers, leased_until, e.attempt) for e in effects],
        )

    def lease(self, group: str, now: int, until: int, limit: int) -> list[PendingEffect]:
        """Take over effects whose lease ran out, in their order."""
        skip_locked = " SKIP LOCKED" if self._sql.for_update else ""
        found = self._sql.execute(
            "UPDATE effect SET leased_until = :until WHERE seq IN (SELECT seq FROM effect WHERE grp = :grp AND leased_until <= :now "
            f"ORDER BY seq LIMIT :limit{self._sql.for_update}{skip_locked}) RETURNING id, key, kind, request, headers, seq, attempt",
            {"grp": group, "now": now, "until": until, "limit": limit},
        )
        return sorted((PendingEffect(*row) for row in found), key=lambda effect: effect.seq)

    def extend(self, ids: Sequence[str], until: int) -> None:
        """Keep the lease of effects still under way."""
        self._sql.each(
            "UPDATE effect SET leased_until = rows.until FROM rows WHERE effect.id = rows.id",
            {"id": "text", "until": "bigint"},
            [(effect, until) for effect in ids],
        )

    def done(self, ids: Sequence[str]) -> set[str]:
        """Remove effects whose outcome is being recorded; return those that were still there, so that an outcome counts once."""
        found = self._sql.each(
            "DELETE FROM effect WHERE id IN (SELECT id FROM rows) RETURNING id", {"id": "text"}, [(effect,) for effect in ids]
        )
        return {row[0] for row in found}

    def count(self, group: str, most: int) -> int:
        """Return how many effects of a group are pending, counted up to `most`."""
        found = self._sql.execute(
            "SELECT count(*) FROM (SELECT 1 FROM effect WHERE grp = :grp LIMIT :most) AS pending", {"grp": group, "most": most}
        )
        return int(found[0][0])
