"""Subscriber to the broker in memory, with positions, gaps and redelivery as over Kafka."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from millrace.memory.broker import MemoryBroker, Place
from millrace.message import Record
from millrace.progress import Progress


class MemorySubscriber:
    """Opens subscriptions on one broker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def subscribe(self, topics: Sequence[str], group: str) -> "MemorySubscription":
        """Join a consumer group on topics, by name. A group without a position starts at the earliest record."""
        return MemorySubscription(self._broker, topics, group)


class _Lane:
    """One owned partition: what is in hand, what is read next, and until when it rests."""

    __slots__ = ("position", "progress", "rests_until")

    def __init__(self, position: int) -> None:
        self.progress = Progress()
        self.position = position
        self.rests_until = 0.0


class MemorySubscription:
    """One member of a group. Its partitions may change hands between any two calls."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group: str) -> None:
        self.topics = frozenset(topics)
        self._broker = broker
        self._group = group
        self._lanes: dict[Place, _Lane] = {}
        self._closed = False
        broker.join(group, self)

    def assigned(self, place: Place, offset: int) -> None:
        """Own a partition; called by the broker under its lock."""
        self._lanes[place] = _Lane(offset)

    def lost(self, place: Place) -> None:
        """Own it no longer; called by the broker under its lock."""
        del self._lanes[place]

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Return what is there, at least one record unless `timeout_seconds` passed."""
        give_up_at = monotonic() + timeout_seconds
        with self._broker.changed:
            while True:
                now = monotonic()
                records = self._read(max_records, now)
                if records or now >= give_up_at:
                    return records
                wake_at = min([give_up_at, *(lane.rests_until for lane in self._lanes.values() if lane.rests_until > now)])
                self._broker.changed.wait(wake_at - now)

    def ack(self, records: Sequence[Record]) -> None:
        """Mark records as done and move the group's position behind those without a gap."""
        with self._broker.changed:
            for record in records:
                place = (record.topic, record.partition)
                lane = self._lanes.get(place)
                if lane is not None and lane.progress.done(record):
                    offset = lane.progress.to_commit()
                    if offset is not None:
                        self._broker.commit(self._group, self, place, offset)

    def nack(self, records: Sequence[Record], *, delay_seconds: float = 0.0) -> None:
        """Go back to the first of the records in each of their partitions; these rest for `delay_seconds`."""
        with self._broker.changed:
            for record in records:
                lane = self._lanes.get((record.topic, record.partition))
                if lane is not None and lane.progress.back_to(record):
                    lane.position = record.offset
                    lane.rests_until = max(lane.rests_until, monotonic() + delay_seconds)

    def keep_alive(self) -> None:
        """Do nothing: a member stays until it leaves."""

    def before_revoke(self, finish: Callable[[float], None]) -> None:
        """Do nothing: this broker takes partitions without asking."""

    def close(self) -> None:
        """Leave the group. Calling it twice does nothing."""
        if not self._closed:
            self._closed = True
            self._broker.leave(self._group, self)

    def _read(self, max_records: int, now: float) -> list[Record]:
        """Read each partition in turn; the one that filled the batch comes last the next time."""
        records: list[Record] = []
        for place, lane in list(self._lanes.items()):
            if lane.rests_until > now:
                continue
            for stored in self._broker.read(place, lane.position, max_records - len(records)):
                record = replace(stored)  # each delivery is an object of its own, as over a wire: Progress tells them apart
                lane.position = record.offset + 1
                if lane.progress.delivered(record):
                    records.append(record)
            if len(records) == max_records:
                self._lanes[place] = self._lanes.pop(place)
                break
        return records
