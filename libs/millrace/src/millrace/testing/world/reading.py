"""A consumer over the broker in memory, for the pipeline: claims partitions in the store, reads batches, and has the engine decide them.

Positions, epochs, due timers and their horizon are the pipeline's own (`Assignment`, `Positions`, `DueWork`); only who hands over the
records is another, and there is no thread.
"""

from collections.abc import Mapping, Sequence

from millrace.errors import PositionLost
from millrace.inbox.positions import PartitionId, Position
from millrace.memory.broker import MemoryBroker, Place
from millrace.message import Record
from millrace.pipeline.assignment import Assignment
from millrace.pipeline.engine import Batch, Engine
from millrace.pipeline.timing import DueWork
from millrace.store.contract import Session
from millrace.testing.world.faults import Faults

_CROWD = 10_000


class BrokerTopics:
    """What the pipeline asks of topics, answered by the broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def of(self, names: set[str]) -> Mapping[str, tuple[str, int]]:
        """Return id and partition count of each topic."""
        return {name: (_id_of(name), self._broker.partitions(name)) for name in sorted(names)}

    def ends(self, parts: Sequence[Place]) -> Mapping[Place, int]:
        """Return the end offset of each partition."""
        return {part: self._broker.end(part) for part in parts}


class WorldReader:
    """One member of a group, reading for one engine."""

    def __init__(
        self,
        broker: MemoryBroker,
        topics: Sequence[str],
        reply_topics: Sequence[str],
        engine: Engine,
        session: Session,
        faults: Faults,
        max_batch: int = 500,
    ) -> None:
        self.topics = frozenset(topics)
        self._broker = broker
        self._engine = engine
        self._session = session
        self._faults = faults
        self._max_batch = max_batch
        self._assignment = Assignment()
        self._due = DueWork(engine, session, BrokerTopics(broker), reply_topics, _CROWD)
        broker.join(engine.group, self)

    def assigned(self, place: Place, offset: int) -> None:
        """Own a partition, once the store says so; called by the broker."""
        self._assignment.doubt([place])

    def lost(self, place: Place) -> None:
        """Own it no longer; called by the broker."""
        self._assignment.drop([place])

    def turn(self) -> bool:
        """Claim, read and decide once; return whether anything was to be done."""
        claimed = self._claim()
        keys, timers = self._due.find(self._assignment)
        decode = self._engine.decoder.decode
        records = self._assignment.own(self._read())
        inputs = [*map(decode, records), *timers]
        if not inputs and not keys:
            return claimed
        moves = self._assignment.moves(records)
        try:
            self._engine.process(self._session, Batch(inputs, moves, keys))
        except PositionLost:
            self._assignment.doubt([(move.partition.topic, move.partition.partition) for move in moves])
            return True
        self._assignment.moved(moves)
        for move in moves:
            self._broker.commit(self._engine.group, self, (move.partition.topic, move.partition.partition), move.next_offset)
        return True

    def is_caught_up(self) -> bool:
        """Say whether all that the broker holds was handled."""
        held = self._assignment.held
        return not self._assignment.unclaimed and all(_start(at) >= self._broker.end(place) for place, at in held.items())

    def leave(self) -> None:
        """Leave the group."""
        self._broker.leave(self._engine.group, self)

    def _claim(self) -> bool:
        parts = sorted(self._assignment.unclaimed)
        if parts:
            with self._session.transaction() as tx:
                held = tx.positions.claim(self._engine.group, [PartitionId(t, _id_of(t), number) for t, number in parts])
            self._assignment.claimed(held)
        return bool(parts)

    def _read(self) -> list[Record]:
        held = self._assignment.held.items()
        waiting = [(place, _start(position)) for place, position in held if _start(position) < self._broker.end(place)]
        records: list[Record] = []
        for place, start in self._faults.ordered(waiting):
            most = min(self._max_batch - len(records), self._faults.takes(self._max_batch))
            if most > 0:
                records += self._broker.read(place, self._faults.rereads(start), most)
        return records


def _start(position: Position) -> int:
    return position.next_offset or 0


def _id_of(topic: str) -> str:
    return f"id of {topic}"
