"""Ids of messages already handled: what catches the copies a producer's relay makes.

Rows live in partitions of time, by the message's own time (equal in every copy), and are dropped a partition at a time after
`KEEP_DAYS`; on SQLite they are deleted.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from millrace.clock import micros
from millrace.store.sql import PostgresSql, Sql

KEEP_DAYS = 7


class MessageIds:
    """The message ids of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def remember(self, group: str, messages: Sequence[tuple[str, int]]) -> Callable[[], set[str]]:
        """Record messages (id and time in microseconds) as handled by a group; return what gives the ids not recorded before."""
        found = self._sql.asked(
            "INSERT INTO message_id (grp, id, sent_at) SELECT grp, id, sent_at FROM rows WHERE true ON CONFLICT DO NOTHING RETURNING id",
            {"grp": "text", "id": "text", "sent_at": "bigint"},
            [(group, message_id, sent_at) for message_id, sent_at in messages],
        )
        return lambda: {row[0] for row in found()}

    def maintain(self, now: datetime) -> None:
        """Make the partitions of the coming days and drop what is older than `KEEP_DAYS`."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        horizon = today - timedelta(days=KEEP_DAYS)
        if not isinstance(self._sql, PostgresSql):
            self._sql.execute("DELETE FROM message_id WHERE sent_at < :horizon", {"horizon": micros(horizon)})
            return
        self._sql.lock([_MAINTENANCE_LOCK])
        held = {row[0] for row in self._sql.execute(_PARTITIONS)}
        for day in (today + timedelta(days=offset) for offset in range(-1, 3)):
            name = f"message_id_{day:%Y%m%d}"
            if name not in held:
                self._add_partition(name, micros(day), micros(day + timedelta(days=1)))
        for name in held:
            if name[-8:].isdigit() and name[-8:] < f"{horizon:%Y%m%d}":
                self._sql.execute(f"DROP TABLE {name}")
        self._sql.execute("DELETE FROM message_id_default WHERE sent_at < :horizon", {"horizon": micros(horizon)})

    def _add_partition(self, name: str, start: int, end: int) -> None:
        """Add a day's partition, with the rows that reached the default partition because the day came before it."""
        self._sql.execute(f"CREATE TABLE {name} (LIKE message_id INCLUDING ALL)")
        self._sql.execute(
            f"WITH moved AS (DELETE FROM message_id_default WHERE sent_at >= :start AND sent_at < :end RETURNING *) "
            f"INSERT INTO {name} SELECT * FROM moved",
            {"start": start, "end": end},
        )
        self._sql.execute(f"ALTER TABLE message_id ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})")


_MAINTENANCE_LOCK = 0x6D696C6C5F6D6964
_PARTITIONS = "SELECT relid::regclass::text FROM pg_partition_tree('message_id') WHERE isleaf"
