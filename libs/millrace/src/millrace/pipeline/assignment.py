"""The partitions a worker holds: their positions in the store, their owner epochs, and which records still count.

Used by the consumer's thread alone. It knows positions, not Kafka's client.
"""

from collections.abc import Iterable, Mapping, Sequence

from millrace.inbox.positions import Move, PartitionId, Position
from millrace.message import Record

TopicPart = tuple[str, int]


class Assignment:
    """What this worker may read and move."""

    def __init__(self) -> None:
        self._ids: dict[TopicPart, PartitionId] = {}
        self._held: dict[TopicPart, Position] = {}
        self._ends: dict[TopicPart, int] = {}
        self.unclaimed: set[TopicPart] = set()
        """Assigned by the group, but not yet claimed in the store: nothing may be read."""

    @property
    def held(self) -> Mapping[TopicPart, Position]:
        """The claimed partitions and where each is read on."""
        return self._held

    def at_end(self, ends: Mapping[TopicPart, int]) -> dict[PartitionId, Position]:
        """Return those claimed partitions, by their lasting identity, of which all before `ends` has been handled."""
        read_to = {part: max(position.next_offset or 0, self._ends.get(part, 0)) for part, position in self._held.items()}
        return {self._ids[part]: self._held[part] for part, end in ends.items() if read_to.get(part, -1) >= end}

    def reached(self, part: TopicPart, offset: int) -> None:
        """Note that all before `offset` has been handled, records or not: transaction markers have offsets too, and records expire."""
        if part in self._held:
            self._ends[part] = offset

    def claimed(self, claims: Mapping[PartitionId, Position]) -> None:
        """Take over partitions as the store gave them."""
        for partition, position in claims.items():
            part = (partition.topic, partition.partition)
            self._ids[part] = partition
            self._held[part] = position
            self._ends.pop(part, None)
            self.unclaimed.discard(part)

    def drop(self, parts: Iterable[TopicPart]) -> None:
        """Forget partitions that were taken away."""
        for part in parts:
            self._held.pop(part, None)
            self._ends.pop(part, None)
            self._ids.pop(part, None)
            self.unclaimed.discard(part)

    def doubt(self, parts: Iterable[TopicPart]) -> None:
        """Hold partitions back until they are claimed anew."""
        for part in parts:
            self._held.pop(part, None)
            self.unclaimed.add(part)

    def own(self, records: Sequence[Record]) -> list[Record]:
        """Return those records that are of claimed partitions and not behind their positions, each offset once."""
        ends: dict[TopicPart, int] = {}
        kept: list[Record] = []
        for record in records:
            part = (record.topic, record.partition)
            position = self._held.get(part)
            if position is None:
                continue
            end = ends.get(part, position.next_offset or 0)
            if record.offset >= end:
                ends[part] = record.offset + 1
                kept.append(record)
        return kept

    def moves(self, records: Sequence[Record]) -> list[Move]:
        """Return the moves that reading records makes, in a fixed order of partitions."""
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        return [Move(self._ids[part], self._held[part], end) for part, end in sorted(ends.items())]

    def moved(self, moves: Sequence[Move]) -> None:
        """Note that the store committed moves."""
        for move in moves:
            part = (move.partition.topic, move.partition.partition)
            if part in self._held:
                self._held[part] = Position(move.next_offset, move.held.owner_epoch)
