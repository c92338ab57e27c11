"""What the conformance suite is made of, and other tests may use too: the pair under test, numbered messages, collecting."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from millrace.message import Message, Record
from millrace.pubsub import Outgoing, Publisher, Subscriber, Subscription

NewTopic = Callable[..., str]
"""Makes a topic and returns its name: `new_topic(partitions=1)`."""

PATIENCE_SECONDS = 30.0
QUIET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PubSub:
    """The two under test, over the same broker."""

    publisher: Publisher
    subscriber: Subscriber


def messages(count: int, *, keys: int = 1) -> list[Message]:
    """Return messages numbered in their payloads, over so many keys."""
    return [Message(type="test.v1.Numbered", payload=b"%d" % n, key=f"key-{n % keys}", source="test") for n in range(count)]


def to(topic: str, batch: Sequence[Message]) -> list[Outgoing]:
    """Address messages to a topic."""
    return [Outgoing(topic, message) for message in batch]


def batches(topic: str, count: int, *, keys: int, size: int) -> list[list[Outgoing]]:
    """Return numbered messages in batches of a size."""
    addressed = to(topic, messages(count, keys=keys))
    return [addressed[start : start + size] for start in range(0, count, size)]


def collect(subscription: Subscription, count: int, *, ack: bool = True) -> list[Record]:
    """Receive until `count` records are there. Raises AssertionError naming how many came in time."""
    records: list[Record] = []
    give_up_at = monotonic() + PATIENCE_SECONDS
    while len(records) < count:
        assert monotonic() < give_up_at, f"{len(records)} of {count} records within {PATIENCE_SECONDS:g} s"
        batch = subscription.receive(500, 0.2)
        if ack:
            subscription.ack(batch)
        records.extend(batch)
    return records


def payloads(records: Sequence[Record]) -> list[int]:
    """Return the numbers of records, in their order."""
    return [int(record.value or b"-1") for record in records]


@contextmanager
def member(pubsub: PubSub, topic: str, group: str | None = None) -> Iterator[Subscription]:
    """Join a group, by default one of its own, for the length of a block."""
    with closing(pubsub.subscriber.subscribe([topic], group or uuid4().hex)) as subscription:
        yield subscription
