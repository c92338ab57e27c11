"""The conformance suite of Publisher and Subscriber: what every broker must pass, in meaning Watermill's.

Subclass it in a test file, with fixtures `pubsub` (a `PubSub`) and `new_topic` (a factory of topic names, `partitions=` each).
Source: watermill, pubsub/tests/test_pubsub.go.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from uuid import uuid4

from millrace.envelope import decode
from millrace.message import Message, Record
from millrace.pubsub import Outgoing, Publisher, RawOutgoing, Subscriber, Subscription

NewTopic = Callable[..., str]

_PATIENCE_SECONDS = 30.0
_QUIET_SECONDS = 0.5


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


def collect(subscription: Subscription, count: int, *, ack: bool = True) -> list[Record]:
    """Receive until `count` records are there. Raises AssertionError naming how many came in time."""
    records: list[Record] = []
    give_up_at = monotonic() + _PATIENCE_SECONDS
    while len(records) < count:
        assert monotonic() < give_up_at, f"{len(records)} of {count} records within {_PATIENCE_SECONDS:g} s"
        batch = subscription.receive(500, 0.2)
        if ack:
            subscription.ack(batch)
        records.extend(batch)
    return records


def payloads(records: Sequence[Record]) -> list[int]:
    """Return the numbers of records, in their order."""
    return [int(record.value or b"-1") for record in records]


class PubSubConformance:
    """Each test is one promise of `millrace.pubsub`."""

    def test_what_is_published_arrives_unchanged(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=3)
        sent = messages(100, keys=7)
        sent[0] = Message(
            type="test.v1.Numbered", payload=b"0", key="ключ", headers={"ce_correlationid": "c-1", "x-note": "größer"}
        )
        pubsub.publisher.publish(to(topic, sent))
        with self.member(pubsub, topic) as subscription:
            received = {message.id: message for message in map(decode, collect(subscription, 100))}
        assert received == {message.id: message for message in sent}

    def test_a_raw_record_arrives_byte_for_byte(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        raw = RawOutgoing(topic, b"\xff\x00", b"\xfe garbage", (("x", b"\xfd"), ("empty", None)))
        pubsub.publisher.publish([raw, RawOutgoing(topic, None, None, ())])
        with self.member(pubsub, topic) as subscription:
            first, second = collect(subscription, 2)
        assert (first.key, first.value, first.headers) == (raw.key, raw.value, raw.headers)
        assert (second.key, second.value, second.headers) == (None, None, ())

    def test_the_order_of_a_key_is_kept(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=4)
        for batch in range(10):
            pubsub.publisher.publish(to(topic, messages(1000, keys=16)[batch * 100 : batch * 100 + 100]))
        with self.member(pubsub, topic) as subscription:
            records = collect(subscription, 1000)
        for key in {record.key for record in records}:
            numbers = payloads([record for record in records if record.key == key])
            assert numbers == sorted(numbers)
        assert len({(record.partition, record.key) for record in records}) == 16

    def test_a_subscriber_that_comes_later_gets_what_was_there(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(10)))
        with self.member(pubsub, topic) as subscription:
            assert payloads(collect(subscription, 10)) == list(range(10))

    def test_what_was_given_back_comes_again_in_order(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(20)))
        with self.member(pubsub, topic) as subscription:
            first = collect(subscription, 20, ack=False)
            subscription.ack(first[:5])
            subscription.nack(first[5:])
            assert payloads(collect(subscription, 15)) == list(range(5, 20))

    def test_a_hundred_refusals_lose_nothing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(50, keys=10)))
        with self.member(pubsub, topic) as subscription:
            for _ in range(100):
                subscription.nack(collect(subscription, 1, ack=False))
            assert sorted(payloads(collect(subscription, 50))) == list(range(50))

    def test_giving_one_partition_back_does_not_move_another(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        """FastStream loses records here: a seek, then the commit of another partition's record (research, section 2)."""
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(40, keys=16)))
        group = uuid4().hex
        with self.member(pubsub, topic, group) as subscription:
            records = collect(subscription, 40, ack=False)
            refused = [record for record in records if record.partition == 0]
            accepted = [record for record in records if record.partition == 1]
            subscription.nack(refused)
            subscription.ack(accepted)
        with self.member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, len(refused))) == payloads(refused)
            assert not subscription.receive(10, _QUIET_SECONDS)

    def test_a_delayed_refusal_leaves_other_partitions_flowing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(40, keys=16)))
        with self.member(pubsub, topic) as subscription:
            records = collect(subscription, 40, ack=False)
            subscription.ack([record for record in records if record.partition == 1])
            refused_at = monotonic()
            refused = [record for record in records if record.partition == 0]
            subscription.nack(refused, delay_seconds=1.0)
            pubsub.publisher.publish(to(topic, messages(40, keys=16)))
            fresh = collect(subscription, 40 - len(refused))
            assert {record.partition for record in fresh} == {1}
            assert monotonic() - refused_at < 1.0
            again = collect(subscription, 2 * len(refused))
            assert monotonic() - refused_at >= 0.9
            assert payloads(again) == payloads(refused) * 2

    def test_what_was_not_acknowledged_goes_to_the_next_member(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(20)))
        group = uuid4().hex
        with self.member(pubsub, topic, group) as subscription:
            records = collect(subscription, 20, ack=False)
            subscription.ack(records[:5])
            subscription.ack(records[6:])  # a gap at 5
        with self.member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, 15)) == list(range(5, 20))

    def test_acknowledging_out_of_order_passes_nothing_over(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(20)))
        group = uuid4().hex
        with self.member(pubsub, topic, group) as subscription:
            for record in reversed(collect(subscription, 20, ack=False)):
                subscription.ack([record])
        pubsub.publisher.publish(to(topic, messages(1)))
        with self.member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, 1)) == [0]

    def test_each_group_gets_everything(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(50, keys=5)))
        with self.member(pubsub, topic) as one, self.member(pubsub, topic) as other:
            assert sorted(payloads(collect(one, 50))) == sorted(payloads(collect(other, 50))) == list(range(50))

    def test_the_members_of_a_group_together_get_everything(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=6)
        group = uuid4().hex
        batches = [to(topic, messages(3000, keys=50)[start : start + 250]) for start in range(0, 3000, 250)]
        seen: Counter[int] = Counter()

        def read(member: int) -> None:
            give_up_at = monotonic() + _PATIENCE_SECONDS
            with self.member(pubsub, topic, group) as subscription:
                while len(seen) < 3000:
                    assert monotonic() < give_up_at, f"member {member}: all members together saw {len(seen)} of 3000"
                    records = subscription.receive(100, 0.1)
                    seen.update(payloads(records))
                    subscription.ack(records)

        with ThreadPoolExecutor(7) as pool:
            readers = [pool.submit(read, member) for member in range(3)]
            list(pool.map(pubsub.publisher.publish, batches))
            for reader in readers:
                reader.result()
        assert sorted(seen) == list(range(3000))

    def test_closing_and_joining_again_goes_on_without_loss(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=3)
        pubsub.publisher.publish(to(topic, messages(500, keys=20)))
        group = uuid4().hex
        seen: list[Record] = []
        while len(seen) < 500:
            with self.member(pubsub, topic, group) as subscription:
                batch = collect(subscription, 1, ack=False)[:120]
                subscription.ack(batch)
                seen.extend(batch)
        assert sorted(payloads(seen)) == list(range(500))
        for partition in range(3):
            offsets = [record.offset for record in seen if record.partition == partition]
            assert all(later == earlier + 1 for earlier, later in pairwise(offsets))

    def test_acknowledging_after_the_partition_moved_is_ignored(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(5)))
        group = uuid4().hex
        with self.member(pubsub, topic, group) as subscription:
            stale = collect(subscription, 5, ack=False)
        with self.member(pubsub, topic, group) as subscription:
            fresh = collect(subscription, 5, ack=False)
            subscription.ack(stale)
            subscription.nack(fresh)
            assert payloads(collect(subscription, 5)) == list(range(5))

    def test_a_member_that_only_stays_alive_takes_nothing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(50, keys=16)))
        with self.member(pubsub, topic) as subscription:
            quiet_until = monotonic() + 4 * _QUIET_SECONDS  # time enough to join, and to be given partitions
            while monotonic() < quiet_until:
                subscription.keep_alive()
            assert sorted(payloads(collect(subscription, 50))) == list(range(50))

    def test_topics_do_not_mix(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        one, other = new_topic(), new_topic()
        pubsub.publisher.publish([Outgoing(one if n % 2 else other, message) for n, message in enumerate(messages(20))])
        with self.member(pubsub, one) as subscription:
            assert payloads(collect(subscription, 10)) == list(range(1, 20, 2))
            assert not subscription.receive(10, _QUIET_SECONDS)

    def test_several_threads_may_publish_at_once(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=4)
        batches = [to(topic, messages(2000, keys=40)[start : start + 20]) for start in range(0, 2000, 20)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(pubsub.publisher.publish, batches))
        with self.member(pubsub, topic) as subscription:
            assert sorted(payloads(collect(subscription, 2000))) == list(range(2000))

    @contextmanager
    def member(self, pubsub: PubSub, topic: str, group: str | None = None) -> Iterator[Subscription]:
        """Join a group, by default one of its own, for the length of a block."""
        with closing(pubsub.subscriber.subscribe([topic], group or uuid4().hex)) as subscription:
            yield subscription
