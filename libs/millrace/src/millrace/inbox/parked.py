"""Messages taken out of the flow because they failed, and those of the same key that wait behind them in order.

A row is written in the transaction of its batch, so the consumer's position moves on and one bad key never holds up a partition.
State `retry`: tried again when due. State `dead`: waits for a person (see `inbox.letters`). `blocks`: later messages of the key queue up
behind it. What does not block was never read, and its id not recorded; redriven, it takes its place in the key's queue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from millrace.store.sql import ColumnType, Sql

State = Literal["retry", "dead"]
_COLUMNS: Mapping[str, ColumnType] = {
    "grp": "text", "key": "text", "record": "bytea", "topic": "text", "attempt": "bigint",
    "due_at": "bigint", "state": "text", "blocks": "bigint", "reason": "text", "parked_at": "bigint",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_QUEUED = "({0}.blocks = 1 OR {0}.state = 'retry')"
_READ = "key, record, topic, attempt, due_at, state, blocks, reason, parked_at, seq"


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A parked record, serialised. `due_at`, in microseconds, is when it is tried again, or, of a dead one, when it died.

    `seq`, 0 until stored, keeps the order within a key.
    """

    key: str
    record: bytes
    topic: str
    attempt: int
    due_at: int
    state: State
    blocks: bool
    reason: str
    parked_at: int
    seq: int = 0


class ParkedMessages:
    """The parked messages of one database, inside one transaction. A key's rows are changed only under the key's lock."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def park(self, group: str, messages: Sequence[ParkedMessage]) -> None:
        """Append messages behind what is parked of their keys."""
        self._sql.each(
            f"INSERT INTO parked ({_NAMES}) SELECT {_NAMES} FROM rows",
            _COLUMNS,
            [
                (group, m.key, m.record, m.topic, m.attempt, m.due_at, m.state, int(m.blocks), m.reason, m.parked_at)
                for m in messages
            ],
        )

    def blocked(self, group: str, keys: Sequence[str]) -> Callable[[], set[str]]:
        """Return what gives those of the keys that have a message parked that blocks."""
        found = self._sql.asked(
            "SELECT DISTINCT p.key FROM parked p JOIN rows ON p.grp = rows.grp AND p.key = rows.key WHERE p.blocks = 1",
            {"grp": "text", "key": "text"},
            [(group, key) for key in keys],
        )
        return lambda: {row[0] for row in found()}

    def due_keys(self, group: str, now: int, limit: int) -> list[str]:
        """Return keys whose head may be tried again, the longest due first. To be locked, then asked for with `heads`."""
        found = self._sql.execute(
            "SELECT h.key FROM parked h WHERE h.grp = :grp AND h.state = 'retry' AND h.due_at <= :now AND h.seq = "
            f"(SELECT min(x.seq) FROM parked x WHERE x.grp = h.grp AND x.key = h.key AND {_QUEUED.format('x')}) ORDER BY h.due_at LIMIT :limit",
            {"grp": group, "now": now, "limit": limit},
        )
        return [row[0] for row in found]

    def run(self, group: str, keys: Sequence[str], now: int) -> list[ParkedMessage]:
        """Return, key by key in order, the parked messages that can be tried now: up to the first that is dead or not yet due."""
        found = self._sql.each(
            "SELECT " + ", ".join(f"p.{name}" for name in _READ.split(", ")) + " FROM parked p JOIN rows ON p.grp = rows.grp "
            f"AND p.key = rows.key WHERE {_QUEUED.format('p')} ORDER BY p.key, p.seq",
            {"grp": "text", "key": "text"},
            [(group, key) for key in keys],
        )
        ready: list[ParkedMessage] = []
        stopped: set[str] = set()
        for message in map(_message, found):
            if message.state == "dead" or message.due_at > now:
                stopped.add(message.key)
            if message.key not in stopped:
                ready.append(message)
        return ready

    def release(self, messages: Sequence[ParkedMessage]) -> None:
        """Remove messages that are done."""
        self._sql.each("DELETE FROM parked WHERE seq IN (SELECT seq FROM rows)", {"seq": "bigint"}, [(m.seq,) for m in messages])

    def update(self, messages: Sequence[ParkedMessage]) -> None:
        """Write what became of messages that failed again."""
        self._sql.each(
            "UPDATE parked SET attempt = rows.attempt, due_at = rows.due_at, state = rows.state, blocks = rows.blocks, "
            "reason = rows.reason FROM rows WHERE parked.seq = rows.seq",
            {"seq": "bigint", "attempt": "bigint", "due_at": "bigint", "state": "text", "blocks": "bigint", "reason": "text"},
            [(m.seq, m.attempt, m.due_at, m.state, int(m.blocks), m.reason) for m in messages],
        )

    def count(self, group: str) -> int:
        """Return how many messages are parked that block their keys, those behind them included."""
        return int(self._sql.execute("SELECT count(*) FROM parked WHERE grp = :grp AND blocks = 1", {"grp": group})[0][0])

    def forget(self, before: int) -> None:
        """Remove dead messages that block nothing and were parked before a time: their copies are in the dead letter topics."""
        self._sql.execute("DELETE FROM parked WHERE blocks = 0 AND state = 'dead' AND parked_at < :before", {"before": before})

    def crowding(self, group: str, most: int) -> Sequence[bytes]:
        """Return the last record of each topic and key that has `most` messages parked that block it, or more."""
        found = self._sql.execute(
            "SELECT record FROM parked WHERE seq IN (SELECT max(seq) FROM parked WHERE grp = :grp AND key IN "
            "(SELECT key FROM parked WHERE grp = :grp AND blocks = 1 GROUP BY key HAVING count(*) >= :most) GROUP BY key, topic)",
            {"grp": group, "most": most},
        )
        return [row[0] for row in found]

    def list(self, group: str, limit: int = 100) -> list[ParkedMessage]:
        """Return parked messages, oldest first."""
        found = self._sql.execute(
            f"SELECT {_READ} FROM parked WHERE grp = :grp ORDER BY seq LIMIT :limit", {"grp": group, "limit": limit}
        )
        return [_message(row) for row in found]


def _message(row: Sequence[object]) -> ParkedMessage:
    key, record, topic, attempt, due_at, state, blocks, reason, parked_at, seq = row
    return ParkedMessage(key, record, topic, attempt, due_at, state, bool(blocks), reason, parked_at, seq)  # type: ignore[arg-type]
