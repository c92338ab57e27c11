"""The conformance suite of Publisher and Subscriber: what every broker must pass, in meaning Watermill's sixteen tests and more.

Subclass `PubSubConformance` in a test file, with fixtures `pubsub` (a `PubSub`) and `new_topic` (a `NewTopic`); for a broker that can be
restarted `RestartConformance` too, with a fixture `restart` besides, which restarts it and returns once it is back:

    class TestMine(PubSubConformance):
        @pytest.fixture
        def pubsub(self) -> PubSub: ...

        @pytest.fixture
        def new_topic(self) -> NewTopic: ...

Where Watermill's tests are: PublishSubscribe, ResendOnError, NoAck, ContinueAfterSubscribeClose, ContinueAfterErrors, Topic, MessageCtx,
NewSubscriberReceivesOldMessages and ConsumerGroups in `delivery`; ConcurrentSubscribe, ConcurrentSubscribeMultipleTopics, ConcurrentClose,
PublishSubscribeInOrder and PublisherClose in `crowd`; SubscribeCtx, and NoAck and MessageCtx as a handler meets them, in `handlers`;
Reconnect in `restarts`. Source: watermill, pubsub/tests/test_pubsub.go.
"""

from millrace.testing.pubsub.crowd import CrowdConformance
from millrace.testing.pubsub.delivery import DeliveryConformance
from millrace.testing.pubsub.handlers import HandlerConformance
from millrace.testing.pubsub.kit import NewTopic, PubSub, batches, collect, member, messages, payloads, to
from millrace.testing.pubsub.restarts import RestartConformance

__all__ = [
    "NewTopic",
    "PubSub",
    "PubSubConformance",
    "RestartConformance",
    "batches",
    "collect",
    "member",
    "messages",
    "payloads",
    "to",
]


class PubSubConformance(DeliveryConformance, CrowdConformance, HandlerConformance):
    """Every promise a broker can be asked for while it runs."""
