"""How far a consumer group has read, kept in the same transaction as what the reading caused.

A position moves only from the value and under the owner epoch that its worker knows, so a worker that lost its partition, or is shown
records twice, changes nothing. The size is constant: one row a partition.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from millrace.store.sql import ColumnType, Sql


@dataclass(frozen=True, slots=True)
class PartitionId:
    """A partition of one incarnation of a topic: a topic deleted and made again has another `topic_id`."""

    topic: str
    topic_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Position:
    """The next offset to read, or None where this group never read the partition, and the epoch of who may move it."""

    next_offset: int | None
    owner_epoch: int


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a position: from what the worker knows to what it has read."""

    partition: PartitionId
    held: Position
    next_offset: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The order to read a partition on from another offset, told by its id from every other reset."""

    partition: PartitionId
    owner_epoch: int
    next_offset: int
    reset_id: str


_KEY: Mapping[str, ColumnType] = {"grp": "text", "topic": "text", "topic_id": "text", "part": "bigint"}
_WHERE = "p.grp = rows.grp AND p.topic_id = rows.topic_id AND p.part = rows.part"


class Positions:
    """The consumer positions of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def claim(self, group: str, partitions: Sequence[PartitionId]) -> dict[PartitionId, Position]:
        """Become the owner of partitions: raise their epochs, and return where to read on."""
        found = self._sql.each(
            "INSERT INTO consumer_position (grp, topic, topic_id, part, next_offset, owner_epoch, caught_up_at) "
            "SELECT grp, topic, topic_id, part, NULL, 1, 0 FROM rows WHERE true "
            "ON CONFLICT (grp, topic_id, part) DO UPDATE SET owner_epoch = consumer_position.owner_epoch + 1 "
            "RETURNING topic, topic_id, part, next_offset, owner_epoch",
            _KEY,
            [(group, p.topic, p.topic_id, p.partition) for p in sorted(partitions, key=lambda p: (p.topic_id, p.partition))],
        )
        return {PartitionId(row[0], row[1], row[2]): Position(row[3], row[4]) for row in found}

    def reset(self, group: str, resets: Sequence[Reset]) -> dict[PartitionId, Position]:
        """Move positions as ordered, each reset once; return those that moved. Needs the epochs of `claim`."""
        found = self._sql.each(
            "UPDATE consumer_position SET next_offset = rows.next, reset_id = rows.reset FROM rows WHERE grp = rows.of_group "
            "AND topic_id = rows.of_topic AND part = rows.number AND owner_epoch = rows.epoch AND reset_id <> rows.reset "
            "RETURNING topic, topic_id, part, next_offset, owner_epoch",
            {"of_group": "text", "of_topic": "text", "number": "bigint", "epoch": "bigint", "next": "bigint", "reset": "text"},
            [(group, r.partition.topic_id, r.partition.partition, r.owner_epoch, r.next_offset, r.reset_id) for r in resets],
        )
        return {PartitionId(row[0], row[1], row[2]): Position(row[3], row[4]) for row in found}

    def topics_read(self, group: str) -> set[str]:
        """Return the names of topics this group has read in any incarnation."""
        return {row[0] for row in self._sql.execute(
            "SELECT DISTINCT topic FROM consumer_position WHERE grp = :grp AND next_offset IS NOT NULL", {"grp": group}
        )}  # fmt: skip

    def advance(self, group: str, moves: Sequence[Move]) -> Callable[[], bool]:
        """Move every position; return what says whether all were where this worker believes: if not, nothing must be committed."""
        moved = self._sql.asked(
            "UPDATE consumer_position AS p SET next_offset = rows.next FROM rows "
            f"WHERE {_WHERE} AND p.owner_epoch = rows.epoch AND COALESCE(p.next_offset, -1) = rows.held RETURNING owner_epoch",
            {**_KEY, "epoch": "bigint", "held": "bigint", "next": "bigint"},
            [
                (group, m.partition.topic, m.partition.topic_id, m.partition.partition, m.held.owner_epoch,
                 -1 if m.held.next_offset is None else m.held.next_offset, m.next_offset)
                for m in moves
            ],
        )  # fmt: skip
        return lambda: len(moved()) == len(moves)

    def caught_up(self, group: str, held: Mapping[PartitionId, Position], at: int) -> None:
        """Record that every record there was at `at` has been handled, on the partitions this worker still owns."""
        self._sql.each(
            f"UPDATE consumer_position AS p SET caught_up_at = rows.at FROM rows WHERE {_WHERE} AND p.owner_epoch = rows.epoch",
            {**_KEY, "epoch": "bigint", "at": "bigint"},
            [(group, p.topic, p.topic_id, p.partition, position.owner_epoch, at) for p, position in held.items()],
        )

    def least_caught_up(self, group: str, topics: Mapping[str, tuple[str, int]]) -> int:
        """Return the earliest `caught_up_at` over every partition of topics (name to id and partition count); 0 if one was never read."""
        found = self._sql.each(
            "SELECT p.topic_id, p.part, p.caught_up_at FROM consumer_position p JOIN rows ON p.grp = rows.grp AND p.topic_id = rows.topic_id",
            {"grp": "text", "topic_id": "text"},
            [(group, topic_id) for topic_id, _ in topics.values()],
        )
        times = {(topic_id, part): at for topic_id, part, at in found}
        wanted = [(topic_id, part) for topic_id, count in topics.values() for part in range(count)]
        return min((times.get(partition, 0) for partition in wanted), default=0)
