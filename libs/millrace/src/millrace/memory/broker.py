"""The broker in memory: topics made of partitions, and for each group who owns which and how far it is.

Used by MemoryPublisher and MemorySubscription, and by `millrace.testing.world`, under its lock. Records stay for its lifetime.
"""

import random
from collections.abc import Sequence
from threading import Condition
from typing import Protocol

from millrace.message import Record
from millrace.partitioner import partition_for

Place = tuple[str, int]
WireHeaders = Sequence[tuple[str, bytes | None]]


class Member(Protocol):
    """What the broker knows of a subscription."""

    topics: frozenset[str]

    def assigned(self, place: Place, offset: int) -> None:
        """Own a partition from now on, starting at an offset."""

    def lost(self, place: Place) -> None:
        """Own it no longer."""


class _Group:
    def __init__(self) -> None:
        self.members: list[Member] = []
        self.owners: dict[Place, Member] = {}
        self.committed: dict[Place, int] = {}


class MemoryBroker:
    """Holds records and groups. A topic nobody created gets `partitions` partitions when it is first named.

    `changed` guards everything, and is notified of new records and new assignments. Its lock is reentrant.
    """

    def __init__(self, partitions: int = 6) -> None:
        self.changed = Condition()
        self._partitions = partitions
        self._topics: dict[str, list[list[Record]]] = {}
        self._groups: dict[str, _Group] = {}

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic. Raises ValueError if it exists."""
        with self.changed:
            if name in self._topics:
                raise ValueError(f"topic {name} exists")
            self._topics[name] = [[] for _ in range(partitions)]

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: WireHeaders) -> Record:
        """Store a record in the partition of its key, a random one without a key, and return it."""
        with self.changed:
            logs = self._logs(topic)
            partition = random.randrange(len(logs)) if key is None else partition_for(key, len(logs))
            log = logs[partition]
            record = Record(topic, partition, len(log), key, value, tuple(headers))
            log.append(record)
            self.changed.notify_all()
            return record

    def topics(self) -> Sequence[str]:
        """Return the names of all topics, in order."""
        with self.changed:
            return sorted(self._topics)

    def records(self, topic: str) -> Sequence[Record]:
        """Return every record of a topic, partition by partition."""
        with self.changed:
            return [record for log in self._logs(topic) for record in log]

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        with self.changed:
            return len(self._logs(topic))

    def end(self, place: Place) -> int:
        """Return the offset that a partition's next record gets."""
        with self.changed:
            return len(self._logs(place[0])[place[1]])

    def committed(self, group: str, place: Place) -> int:
        """Return the offset a group goes on from in a partition."""
        with self.changed:
            return self._group(group).committed.get(place, 0)

    def read(self, place: Place, offset: int, max_records: int) -> Sequence[Record]:
        """Return records of a partition from an offset on."""
        with self.changed:
            return self._logs(place[0])[place[1]][offset : offset + max_records]

    def join(self, group: str, member: Member) -> None:
        """Add a member and spread the partitions anew."""
        with self.changed:
            self._group(group).members.append(member)
            self._rebalance(self._group(group))

    def leave(self, group: str, member: Member) -> None:
        """Remove a member and spread the partitions anew."""
        with self.changed:
            self._group(group).members.remove(member)
            self._rebalance(self._group(group))

    def restart(self) -> None:
        """Do what a restart does to members: every partition is lost, and comes back at the position of its group."""
        with self.changed:
            for group in self._groups.values():
                for place, owner in group.owners.items():
                    owner.lost(place)
                    owner.assigned(place, group.committed.get(place, 0))
            self.changed.notify_all()

    def commit(self, group: str, member: Member, place: Place, offset: int) -> None:
        """Move a group's position in a partition; ignored from a member that does not own it."""
        with self.changed:
            if self._group(group).owners.get(place) is member:
                self._group(group).committed[place] = offset

    def _logs(self, topic: str) -> list[list[Record]]:
        return self._topics.setdefault(topic, [[] for _ in range(self._partitions)])

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())

    def _rebalance(self, group: _Group) -> None:
        """Give each partition to the least loaded member that reads its topic, moving no more than evenness asks for."""
        before, group.owners = group.owners, {}
        topics = sorted({topic for member in group.members for topic in member.topics})
        for topic in topics:
            readers = [member for member in group.members if topic in member.topics]
            places = [(topic, partition) for partition in range(len(self._logs(topic)))]
            share = -(-len(places) // len(readers))
            counts = dict.fromkeys(map(id, readers), 0)
            unowned = []
            for place in places:
                owner = before.get(place)
                if owner is not None and counts.get(id(owner), share) < share:
                    group.owners[place] = owner
                    counts[id(owner)] += 1
                else:
                    unowned.append(place)
            for place in unowned:
                owner = min(readers, key=lambda reader: counts[id(reader)])
                group.owners[place] = owner
                counts[id(owner)] += 1
        for place, was in before.items():
            if group.owners.get(place) is not was:
                was.lost(place)
        for place, owner in group.owners.items():
            if before.get(place) is not owner:
                owner.assigned(place, group.committed.get(place, 0))
        self.changed.notify_all()
