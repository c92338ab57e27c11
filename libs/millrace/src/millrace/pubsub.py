"""What every publisher and subscriber promises. `millrace.kafka` and `millrace.memory` keep it.

Batches, not single messages, cross this border: a hop per message would cost more than the work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from millrace.message import Message, Record


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the topic it goes to."""

    topic: str
    message: Message


@dataclass(frozen=True, slots=True)
class RawOutgoing:
    """A record to send byte for byte as it is: what dead letters are made of. It need not be a valid message."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


Sendable: TypeAlias = Outgoing | RawOutgoing


class Publisher(Protocol):
    """Sends messages. Safe to call from several threads."""

    def publish(self, batch: Sequence[Sendable]) -> None:
        """Send in order and return once the broker has every message.

        Raises PublishTimeout if no answer came in time (the messages may still arrive) and PermanentError if the broker refused one.
        """

    def close(self) -> None:
        """Wait for what is under way, then give the connection back. Calling it twice does nothing; `publish` then raises RuntimeError."""


class Subscription(Protocol):
    """One member of a consumer group. All calls come from one thread."""

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Return what is there, at least one record unless `timeout_seconds` passed; within a partition in order, without gaps.

        Raises Unavailable where the member fell out of its group; the next call joins again.
        """

    def ack(self, records: Sequence[Record]) -> None:
        """Mark records as done. After a restart the group goes on behind the acknowledged records that have no gap before them.

        Records of a partition that was taken away meanwhile are ignored.
        """

    def nack(self, records: Sequence[Record], *, delay_seconds: float = 0.0) -> None:
        """Give records back: each of their partitions is delivered again from the first of them on, after `delay_seconds`.

        Other partitions flow on meanwhile.
        """

    def keep_alive(self) -> None:
        """Stay in the group while records are in hand and nothing is received: to be called several times a second. Returns at once.

        Partitions may come and go meanwhile. Records stay where they are until the next `receive`.
        """

    def before_revoke(self, finish: Callable[[float], None]) -> None:
        """Have `finish(seconds)` called before partitions go to another member; what it acknowledges counts.

        It is called from within `receive`, `keep_alive` and `close`, and is to return within so many seconds. Partitions that are lost,
        or that a broker takes without asking, go without it.
        """

    def close(self) -> None:
        """Leave the group. What was not acknowledged goes to another member, or to the next one that joins."""


class TransactionalSubscription(Subscription, Protocol):
    """A subscription whose position moves with what is published, or not at all."""

    def commit(self, records: Sequence[Record], outputs: Sequence[Sendable]) -> None:
        """Publish outputs in order and mark records as done, both in one transaction, and return once it stands.

        The records are to be all that came of their partitions before them. Raises TransientError or PermanentError where nothing of it
        stands, or that cannot be told yet: give the records back, and those whose transaction stood after all do not come again. Raises
        Fenced where another member has taken this one's place.
        """


class Subscriber(Protocol):
    """Opens subscriptions. Safe to call from several threads."""

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        """Join a consumer group on topics, by name. A group without a position starts at the earliest record."""


class TransactionalSubscriber(Protocol):
    """Opens subscriptions that publish in transactions. Safe to call from several threads."""

    def subscribe(self, topics: Sequence[str], group: str) -> TransactionalSubscription:
        """Join a consumer group on topics, by name. A group without a position starts at the earliest record."""
