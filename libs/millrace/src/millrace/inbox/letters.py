"""What people see and decide of the parked messages: queries that page through them, and what takes dead ones back or away.

Used by `millrace dlt`, never on the path of a message. A key's rows are changed only under the key's lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.inbox.parked import ParkedMessage
from millrace.store.sql import Row, Sql

_MESSAGE = "p.key, p.record, p.topic, p.attempt, p.due_at, p.state, p.blocks, p.reason, p.parked_at, p.seq"
_OTHERS = "SELECT {} FROM parked x WHERE x.grp = p.grp AND x.key = p.key"
_BEHIND = f"CASE WHEN p.state = 'dead' AND p.blocks = 1 THEN ({_OTHERS.format('count(*)')} AND x.blocks = 1 AND x.seq > p.seq) ELSE 0 END"
_IS_BEHIND = (
    f"CASE WHEN EXISTS ({_OTHERS.format('1')} AND (x.blocks = 1 OR x.state = 'retry') AND x.seq < p.seq) THEN 1 ELSE 0 END"
)


@dataclass(frozen=True, slots=True)
class ParkedLetter:
    """A parked message, how many wait behind it if it is dead, and whether it waits behind one itself."""

    group: str
    message: ParkedMessage
    waiting: int
    is_behind: bool


class ParkedLetters:
    """The parked messages of one database as people see them, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def page(self, equal: Mapping[str, str], after: int, limit: int) -> list[ParkedLetter]:
        """Return parked messages behind the one numbered `after`, oldest first. `equal` narrows grp, topic, key or state."""
        narrowed = "".join(f" AND p.{column} = :{column}" for column in equal)
        found = self._sql.execute(
            f"SELECT p.grp, {_BEHIND}, {_IS_BEHIND}, {_MESSAGE} FROM parked p WHERE p.seq > :after{narrowed} ORDER BY p.seq LIMIT :limit",
            {**equal, "after": after, "limit": limit},
        )
        return [_letter(row) for row in found]

    def dead(self, seqs: Sequence[int]) -> list[ParkedLetter]:
        """Return those of the messages that are there, and dead, in order. To be asked under the locks of their keys."""
        found = self._sql.each(
            f"SELECT p.grp, 0, 0, {_MESSAGE} FROM parked p JOIN rows ON p.seq = rows.seq WHERE p.state = 'dead' ORDER BY p.seq",
            {"seq": "bigint"},
            [(seq,) for seq in seqs],
        )
        return [_letter(row) for row in found]

    def redrive(self, letters: Sequence[ParkedLetter], now: int) -> None:
        """Have messages tried again from `now` on, with all their attempts, each at its place in its key's order."""
        self._sql.each(
            "UPDATE parked SET state = 'retry', attempt = 0, due_at = rows.now FROM rows WHERE parked.seq = rows.seq",
            {"seq": "bigint", "now": "bigint"},
            [(letter.message.seq, now) for letter in letters],
        )


def _letter(row: Row) -> ParkedLetter:
    group, waiting, is_behind, key, record, topic, attempt, due_at, state, blocks, reason, parked_at, seq = row
    message = ParkedMessage(key, record, topic, attempt, due_at, state, bool(blocks), reason, parked_at, seq)
    return ParkedLetter(group, message, int(waiting), bool(is_behind))
