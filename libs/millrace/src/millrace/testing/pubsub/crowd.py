"""What holds with many publishers, members and topics at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from time import monotonic
from uuid import uuid4

from millrace.pubsub import Outgoing
from millrace.testing.pubsub.kit import PATIENCE_SECONDS, NewTopic, PubSub, batches, collect, member, messages, payloads, to


class CrowdConformance:
    """Each test is one promise of `millrace.pubsub`, under concurrency."""

    def test_the_members_of_a_group_together_get_everything(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic, group = new_topic(partitions=6), uuid4().hex
        seen: Counter[int] = Counter()

        def read(number: int) -> None:
            give_up_at = monotonic() + PATIENCE_SECONDS
            with member(pubsub, topic, group) as subscription:
                while len(seen) < 3000:
                    assert monotonic() < give_up_at, f"member {number}: all members together saw {len(seen)} of 3000"
                    records = subscription.receive(100, 0.1)
                    seen.update(payloads(records))
                    subscription.ack(records)

        with ThreadPoolExecutor(55) as pool:
            readers = [pool.submit(read, number) for number in range(5)]
            list(pool.map(pubsub.publisher.publish, batches(topic, 3000, keys=50, size=60)))
            for reader in readers:
                reader.result()
        assert sorted(seen) == list(range(3000))

    def test_the_order_of_a_key_is_kept_over_the_members_of_a_group(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic, group = new_topic(partitions=4), uuid4().hex
        handled: dict[bytes | None, list[int]] = {}
        lock = Lock()

        def count() -> int:
            return sum(len(set(numbers)) for numbers in handled.values())

        def read() -> None:
            give_up_at = monotonic() + PATIENCE_SECONDS
            with member(pubsub, topic, group) as subscription:
                while True:
                    records = subscription.receive(20, 0.1)
                    with lock:
                        for record in records:
                            handled.setdefault(record.key, []).append(int(record.value or b"-1"))
                        done = count() == 1000
                    subscription.ack(records)
                    if done:
                        return
                    assert monotonic() < give_up_at, f"{count()} of 1000"

        for batch in batches(topic, 1000, keys=16, size=100):
            pubsub.publisher.publish(batch)
        with ThreadPoolExecutor(3) as pool:
            for reader in [pool.submit(read) for _ in range(3)]:
                reader.result()
        for numbers in handled.values():
            firsts = list(dict.fromkeys(numbers))  # a record may come twice where members come and go
            assert firsts == sorted(firsts)

    def test_many_topics_are_read_at_once_each_by_its_own_member(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topics = [new_topic() for _ in range(10)]

        def read(topic: str) -> list[int]:
            with member(pubsub, topic) as subscription:
                return payloads(collect(subscription, 100))

        with ThreadPoolExecutor(20) as pool:
            readers = [pool.submit(read, topic) for topic in topics]
            numbered = messages(100)
            list(pool.map(pubsub.publisher.publish, (to(topic, numbered) for topic in topics)))
            assert [reader.result() for reader in readers] == [list(range(100))] * 10

    def test_members_that_come_and_leave_at_once_leave_a_group_that_works(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic, group = new_topic(partitions=2), uuid4().hex
        together = Barrier(10)

        def come_and_leave(number: int) -> None:
            together.wait(PATIENCE_SECONDS)
            pubsub.subscriber.subscribe([topic], group).close()

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(come_and_leave, range(10)))
        pubsub.publisher.publish(to(topic, messages(50, keys=10)))
        with member(pubsub, topic, group) as subscription:
            assert sorted(payloads(collect(subscription, 50))) == list(range(50))

    def test_several_threads_may_publish_at_once(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=4)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(pubsub.publisher.publish, batches(topic, 2000, keys=40, size=20)))
        with member(pubsub, topic) as subscription:
            assert sorted(payloads(collect(subscription, 2000))) == list(range(2000))

    def test_closing_a_publisher_loses_nothing_that_it_accepted(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic(partitions=4)
        accepted: list[int] = []
        enough = Barrier(2)

        def publish(batch: list[Outgoing]) -> None:
            try:
                pubsub.publisher.publish(batch)
            except RuntimeError:
                return  # closed by now
            accepted.extend(int(item.message.payload) for item in batch)
            if accepted[:1] == [int(batch[0].message.payload)]:
                enough.wait(PATIENCE_SECONDS)

        with ThreadPoolExecutor(9) as pool:
            publishing = [pool.submit(publish, batch) for batch in batches(topic, 10_000, keys=40, size=20)]
            enough.wait(PATIENCE_SECONDS)
            pubsub.publisher.close()
            for one in publishing:
                one.result()
        with member(pubsub, topic) as subscription:
            arrived = payloads(collect(subscription, len(accepted)))
        assert set(accepted) <= set(arrived)
