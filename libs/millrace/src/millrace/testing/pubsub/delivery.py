"""What one publisher and one member promise: everything arrives, in order, until it is acknowledged."""

from itertools import pairwise
from time import monotonic
from uuid import uuid4

import pytest

from millrace.envelope import decode
from millrace.message import Message, Record
from millrace.pubsub import Outgoing, RawOutgoing
from millrace.testing.pubsub.kit import QUIET_SECONDS, NewTopic, PubSub, collect, member, messages, payloads, to


class DeliveryConformance:
    """Each test is one promise of `millrace.pubsub`."""

    def test_what_is_published_arrives_unchanged(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=3)
        sent = messages(100, keys=7)
        sent[0] = Message(
            type="test.v1.Numbered", payload=b"0", key="ключ", headers={"ce_correlationid": "c-1", "x-note": "größer"}
        )
        pubsub.publisher.publish(to(topic, sent))
        with member(pubsub, topic) as subscription:
            received = {message.id: message for message in map(decode, collect(subscription, 100))}
        assert received == {message.id: message for message in sent}

    def test_a_raw_record_arrives_byte_for_byte(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        raw = RawOutgoing(topic, b"\xff\x00", b"\xfe garbage", (("x", b"\xfd"), ("empty", None)))
        pubsub.publisher.publish([raw, RawOutgoing(topic, None, None, ())])
        with member(pubsub, topic) as subscription:
            first, second = collect(subscription, 2)
        assert (first.key, first.value, first.headers) == (raw.key, raw.value, raw.headers)
        assert (second.key, second.value, second.headers) == (None, None, ())

    def test_the_order_of_a_key_is_kept(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=4)
        for batch in range(10):
            pubsub.publisher.publish(to(topic, messages(1000, keys=16)[batch * 100 : batch * 100 + 100]))
        with member(pubsub, topic) as subscription:
            records = collect(subscription, 1000)
        for key in {record.key for record in records}:
            numbers = payloads([record for record in records if record.key == key])
            assert numbers == sorted(numbers)
        assert len({(record.partition, record.key) for record in records}) == 16

    def test_a_subscriber_that_comes_later_gets_what_was_there(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(10)))
        with member(pubsub, topic) as subscription:
            assert payloads(collect(subscription, 10)) == list(range(10))

    def test_what_was_given_back_comes_again_in_order(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(20)))
        with member(pubsub, topic) as subscription:
            first = collect(subscription, 20, ack=False)
            subscription.ack(first[:5])
            subscription.nack(first[5:])
            assert payloads(collect(subscription, 15)) == list(range(5, 20))

    def test_refusals_by_one_member_after_another_lose_nothing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic, group = new_topic(partitions=2), uuid4().hex
        pubsub.publisher.publish(to(topic, messages(50, keys=10)))
        for _ in range(3):
            with member(pubsub, topic, group) as subscription:
                for _ in range(20):
                    subscription.nack(collect(subscription, 1, ack=False))
        with member(pubsub, topic, group) as subscription:
            assert sorted(payloads(collect(subscription, 50))) == list(range(50))

    def test_a_record_that_is_done_cannot_be_given_back(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(10)))
        with member(pubsub, topic) as subscription:
            records = collect(subscription, 10)
            subscription.nack(records)
            assert not subscription.receive(10, QUIET_SECONDS)

    def test_closing_twice_does_nothing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        with member(pubsub, topic) as subscription:
            subscription.close()
        pubsub.publisher.close()
        pubsub.publisher.close()
        with pytest.raises(RuntimeError):
            pubsub.publisher.publish(to(topic, messages(1)))

    def test_giving_one_partition_back_does_not_move_another(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        """FastStream loses records here: a seek, then the commit of another partition's record (research, section 2)."""
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(40, keys=16)))
        group = uuid4().hex
        with member(pubsub, topic, group) as subscription:
            records = collect(subscription, 40, ack=False)
            refused = [record for record in records if record.partition == 0]
            accepted = [record for record in records if record.partition == 1]
            subscription.nack(refused)
            subscription.ack(accepted)
        with member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, len(refused))) == payloads(refused)
            assert not subscription.receive(10, QUIET_SECONDS)

    def test_a_delayed_refusal_leaves_other_partitions_flowing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(40, keys=16)))
        with member(pubsub, topic) as subscription:
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
        with member(pubsub, topic, group) as subscription:
            records = collect(subscription, 20, ack=False)
            subscription.ack(records[:5])
            subscription.ack(records[6:])  # a gap at 5
        with member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, 15)) == list(range(5, 20))

    def test_acknowledging_out_of_order_passes_nothing_over(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        pubsub.publisher.publish(to(topic, messages(20)))
        group = uuid4().hex
        with member(pubsub, topic, group) as subscription:
            for record in reversed(collect(subscription, 20, ack=False)):
                subscription.ack([record])
        pubsub.publisher.publish(to(topic, messages(1)))
        with member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, 1)) == [0]

    def test_each_group_gets_everything(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(50, keys=5)))
        with member(pubsub, topic) as one, member(pubsub, topic) as other:
            assert sorted(payloads(collect(one, 50))) == sorted(payloads(collect(other, 50))) == list(range(50))

    def test_closing_and_joining_again_goes_on_without_loss(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=3)
        pubsub.publisher.publish(to(topic, messages(500, keys=20)))
        group = uuid4().hex
        seen: list[Record] = []
        while len(seen) < 500:
            with member(pubsub, topic, group) as subscription:
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
        with member(pubsub, topic, group) as subscription:
            stale = collect(subscription, 5, ack=False)
        with member(pubsub, topic, group) as subscription:
            fresh = collect(subscription, 5, ack=False)
            subscription.ack(stale)
            subscription.nack(fresh)
            assert payloads(collect(subscription, 5)) == list(range(5))

    def test_a_member_that_only_stays_alive_takes_nothing(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=2)
        pubsub.publisher.publish(to(topic, messages(50, keys=16)))
        with member(pubsub, topic) as subscription:
            quiet_until = monotonic() + 4 * QUIET_SECONDS  # time enough to join, and to be given partitions
            while monotonic() < quiet_until:
                subscription.keep_alive()
            assert sorted(payloads(collect(subscription, 50))) == list(range(50))

    def test_topics_do_not_mix(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        one, other = new_topic(), new_topic()
        pubsub.publisher.publish([Outgoing(one if n % 2 else other, message) for n, message in enumerate(messages(20))])
        with member(pubsub, one) as subscription:
            assert payloads(collect(subscription, 10)) == list(range(1, 20, 2))
            assert not subscription.receive(10, QUIET_SECONDS)
