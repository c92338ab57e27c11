"""What a plain handler meets on a Router over the broker."""

from threading import Event
from time import monotonic
from uuid import uuid4

from millrace.handling import current_delivery
from millrace.message import Message
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub.kit import PATIENCE_SECONDS, QUIET_SECONDS, NewTopic, PubSub, collect, member, messages, payloads, to
from millrace.testing.waiting import eventually


class HandlerConformance:
    """Each test is one promise of `millrace.router`, which rests on the broker's."""

    def test_no_message_is_handled_before_the_one_before_it_is_done(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic = new_topic()
        first_in_hand, go_on, second_came = Event(), Event(), Event()

        def handle(message: Message) -> None:
            if message.payload == b"0":
                first_in_hand.set()
                assert go_on.wait(PATIENCE_SECONDS)
            else:
                second_came.set()

        pubsub.publisher.publish(to(topic, messages(2)))
        router = Router()
        router.add_consumer_handler("one", Source(pubsub.subscriber, [topic], uuid4().hex), handle)
        router.start()
        assert first_in_hand.wait(PATIENCE_SECONDS)
        assert not second_came.wait(QUIET_SECONDS)
        go_on.set()
        assert second_came.wait(PATIENCE_SECONDS)
        router.close()

    def test_closing_ends_the_wait_of_a_handler_and_its_message_goes_to_the_next(
        self, pubsub: PubSub, new_topic: NewTopic
    ) -> None:
        topic, group = new_topic(), uuid4().hex
        waiting = Event()

        def handle(message: Message) -> None:
            delivery = current_delivery.get()
            assert (delivery.record.topic, delivery.record.value) == (topic, message.payload)
            if message.payload == b"1":
                waiting.set()
                delivery.wait(2 * PATIENCE_SECONDS)

        pubsub.publisher.publish(to(topic, messages(3)))
        router = Router(RouterSettings(patience_seconds=2 * PATIENCE_SECONDS))
        router.add_consumer_handler("one", Source(pubsub.subscriber, [topic], group), handle)
        router.start()
        assert waiting.wait(PATIENCE_SECONDS)
        asked_at = monotonic()
        router.close()
        assert monotonic() - asked_at < PATIENCE_SECONDS
        with member(pubsub, topic, group) as subscription:
            assert payloads(collect(subscription, 2)) == [1, 2]

    def test_a_handler_that_is_stopped_leaves_its_partitions_to_others(self, pubsub: PubSub, new_topic: NewTopic) -> None:
        topic, group = new_topic(partitions=2), uuid4().hex
        handled: dict[str, set[int]] = {"one": set(), "other": set()}
        router = Router()
        for name, numbers in handled.items():
            source = Source(pubsub.subscriber, [topic], group)
            router.add_consumer_handler(name, source, lambda message, seen=numbers: seen.add(int(message.payload)))  # type: ignore[misc]
        router.start()
        sent = messages(150, keys=16)
        pubsub.publisher.publish(to(topic, sent[:100]))
        eventually(lambda: len(handled["one"] | handled["other"]) == 100, PATIENCE_SECONDS, lambda: handled)
        router.stop("one")
        before = set(handled["one"])
        pubsub.publisher.publish(to(topic, sent[100:]))
        eventually(lambda: set(range(100, 150)) <= handled["other"], PATIENCE_SECONDS, lambda: handled)
        assert handled["one"] == before
        router.close()
