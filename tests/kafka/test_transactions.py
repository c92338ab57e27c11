"""A subscription that publishes and moves its position in one transaction, on a real broker."""

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from millrace.errors import Fenced, OutcomeUnknown, PermanentError, PublishTimeout, Unavailable
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaTransactionalSubscriber, new_producer, transactions
from millrace.kafka.whole import read_whole
from millrace.message import Record
from millrace.pubsub import RawOutgoing
from millrace.testing.pubsub import collect, messages, payloads, to
from millrace.testing.waiting import eventually


@pytest.fixture
def numbered(kafka: str, kafka_topic: Callable[..., str]) -> Iterator[Callable[..., str]]:
    """Give a factory of topics with so many numbered messages."""
    with closing(KafkaPublisher(KafkaConfig(kafka))) as publisher:

        def make(count: int, *, partitions: int = 1) -> str:
            topic = kafka_topic(partitions=partitions)
            publisher.publish(to(topic, messages(count, keys=16)))
            return topic

        yield make


class Wrapped:
    """A producer, to have some of its calls end otherwise."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def copies(records: list[Record], topic: str) -> list[RawOutgoing]:
    return [RawOutgoing(topic, record.key, record.value, ()) for record in records]


def committed(kafka: str, topic: str) -> list[int]:
    return payloads([record for record, _ in read_whole(KafkaConfig(kafka), topic)])


def test_what_is_committed_appears_at_once_and_the_group_goes_on_behind_it(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str]
) -> None:
    topic, out, group = numbered(10), kafka_topic(), uuid4().hex
    subscriber = KafkaTransactionalSubscriber(KafkaConfig(kafka))
    with closing(subscriber.subscribe([topic], group)) as subscription:
        records = collect(subscription, 10, ack=False)
        subscription.commit(records[:6], copies(records[:6], out))
        assert committed(kafka, out) == [0, 1, 2, 3, 4, 5]
        subscription.nack(records[6:])
        again = collect(subscription, 4, ack=False)
        assert payloads(again) == [6, 7, 8, 9]
        subscription.ack(again[:2])
    with closing(subscriber.subscribe([topic], group)) as subscription:
        assert payloads(collect(subscription, 2)) == [8, 9]
    assert committed(kafka, out) == [0, 1, 2, 3, 4, 5]


def test_a_refused_output_leaves_nothing_of_its_transaction(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str]
) -> None:
    topic, out, group = numbered(3), kafka_topic(max_message_bytes="1000"), uuid4().hex
    with closing(KafkaTransactionalSubscriber(KafkaConfig(kafka)).subscribe([topic], group)) as subscription:
        records = collect(subscription, 3, ack=False)
        too_large = RawOutgoing(out, b"k", b"x" * 3_000_000, ())
        with pytest.raises(PermanentError, match="MSG_SIZE_TOO_LARGE"):
            subscription.commit(records, [*copies(records, out), too_large])
        assert committed(kafka, out) == []
        subscription.nack(records)
        records = collect(subscription, 3, ack=False)
        subscription.commit(records, copies(records, out))
        assert committed(kafka, out) == [0, 1, 2]


def test_a_member_that_fell_out_of_its_group_commits_nothing(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str]
) -> None:
    topic, out, group = numbered(5), kafka_topic(), uuid4().hex
    hasty = KafkaConfig(kafka, session_timeout_seconds=1.0, max_poll_interval_seconds=1.0)
    late = KafkaTransactionalSubscriber(hasty).subscribe([topic], group)
    held = collect(late, 5, ack=False)
    with closing(KafkaTransactionalSubscriber(KafkaConfig(kafka)).subscribe([topic], group)) as successor:
        records = collect(successor, 5, ack=False)  # `late` is not polled meanwhile, and so put out
        with pytest.raises(Unavailable):
            late.commit(held, copies(held, out))
        successor.commit(records, copies(records, out))
    assert committed(kafka, out) == [0, 1, 2, 3, 4]
    late.close()


def test_outside_its_group_a_member_sends_no_offsets(kafka: str, kafka_topic: Callable[..., str]) -> None:
    """The broker would take them unchecked: they name no member."""
    with closing(KafkaTransactionalSubscriber(KafkaConfig(kafka)).subscribe([kafka_topic()], uuid4().hex)) as subscription:
        with pytest.raises(Unavailable, match="fell out"):
            subscription._member()
        eventually(lambda: subscription.receive(1, 0.1) or subscription._consumer.memberid(), 30)
        assert subscription._member()


def test_a_commit_without_an_answer_is_settled_before_anything_more_is_read(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways: it stood, and it did not."""
    reached: list[bool] = []

    class Deaf(Wrapped):
        """Its first two commits are not answered; the first of them reaches the broker, the second does not."""

        def commit_transaction(self, seconds: float) -> None:
            if len(reached) < 2:
                reached.append(not reached)
                if reached[-1]:
                    self._producer.commit_transaction(seconds)
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            self._producer.commit_transaction(seconds)

    monkeypatch.setattr(transactions, "new_producer", lambda *args, **options: Deaf(new_producer(*args, **options)))
    topic, out, group = numbered(9), kafka_topic(), uuid4().hex
    with closing(KafkaTransactionalSubscriber(KafkaConfig(kafka)).subscribe([topic], group)) as subscription:
        records = collect(subscription, 9, ack=False)
        for standing in (4, 4):
            with pytest.raises(OutcomeUnknown):
                subscription.commit(records[:4], copies(records[:4], out))
            subscription.nack(records)
            records = collect(subscription, 9 - standing, ack=False)
            assert payloads(records) == list(range(standing, 9))
            assert committed(kafka, out) == list(range(standing))
        subscription.commit(records, copies(records, out))
    assert reached == [True, False]
    assert committed(kafka, out) == list(range(9))


def test_a_second_program_under_the_same_name_ends_the_first(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str]
) -> None:
    topic, out, group = numbered(5), kafka_topic(), uuid4().hex
    subscriber = KafkaTransactionalSubscriber(KafkaConfig(kafka, group_instance_id="shop-0"))
    first = subscriber.subscribe([topic], group)
    held = collect(first, 5, ack=False)
    with closing(subscriber.subscribe([topic], group)) as second:
        records = collect(second, 5, ack=False)
        with pytest.raises(Fenced, match="shop-0"):
            first.commit(held, copies(held, out))
        second.commit(records, copies(records, out))
    assert committed(kafka, out) == [0, 1, 2, 3, 4]
    first.close()


def test_a_transaction_left_open_is_aborted_by_the_next_of_its_name(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, out, group = numbered(5), kafka_topic(), uuid4().hex
    config = KafkaConfig(kafka, group_instance_id="shop-0", message_timeout_seconds=300)  # the broker would wait for ten minutes
    first = KafkaTransactionalSubscriber(config).subscribe([topic], group)
    held = collect(first, 5, ack=False)
    with monkeypatch.context() as dying:
        dying.setattr(transactions.Transactions, "_insist", _die)
        with pytest.raises(SystemExit):
            first.commit(held, copies(held, out))
    with closing(KafkaTransactionalSubscriber(config).subscribe([topic], group)) as second:
        records = collect(second, 5, ack=False)
        second.commit(records, copies(records, out))
    eventually(lambda: committed(kafka, out) == [0, 1, 2, 3, 4], describe=lambda: committed(kafka, out))
    first.close()


def test_a_call_of_the_client_that_never_returns_is_left_behind(
    kafka: str, kafka_topic: Callable[..., str], numbered: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As send_offsets_to_transaction of librdkafka 2.16 does not where its broker is killed meanwhile, whatever bound it is given."""
    topic, out, group = numbered(5), kafka_topic(), uuid4().hex
    stuck, never = Event(), Event()

    class Stuck(Wrapped):
        def send_offsets_to_transaction(self, offsets: Any, member: Any, seconds: float) -> None:
            if not stuck.is_set():
                stuck.set()
                never.wait()
            self._producer.send_offsets_to_transaction(offsets, member, seconds)

    monkeypatch.setattr(transactions, "new_producer", lambda *args, **options: Stuck(new_producer(*args, **options)))
    with closing(KafkaTransactionalSubscriber(KafkaConfig(kafka)).subscribe([topic], group)) as subscription:
        records = collect(subscription, 5, ack=False)
        subscription._transactions._seconds = 0.5
        with pytest.raises(PublishTimeout, match="send_offsets"):
            subscription.commit(records, copies(records, out))
        subscription._transactions._seconds = 10
        subscription.nack(records)
        records = collect(subscription, 5, ack=False)
        subscription.commit(records, copies(records, out))
    never.set()
    assert committed(kafka, out) == [0, 1, 2, 3, 4]


def _die(self: transactions.Transactions, name: str, call: Callable[[Any, float], None]) -> None:
    """Leave a transaction open, its messages sent and its offsets with the coordinator."""
    call(self._producer, 10)
    assert self._producer is not None
    assert self._producer.flush(10) == 0
    raise SystemExit
