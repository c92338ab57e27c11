"""Analytics made anew from Kafka: equal to what was there, also amid live messages, and never less without being told so."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from google.protobuf.message import Message as Protobuf

from analytics_service.bootstrap import rebuildable
from millrace.cqrs.marshal import marshal
from millrace.dead_letters.letter import Wanted
from millrace.dead_letters.stored import StoredLetters
from millrace.envelope import encode_headers
from millrace.errors import Refused
from millrace.eventstore.events import Append, NewEvent
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import KafkaProducer
from millrace.observability.health import Health
from millrace.pipeline.consumer import ConsumerConfig, PipelineConsumer
from millrace.pipeline.engine import Engine, EngineConfig
from millrace.rebuild.records import Rebuilt, rebuild_records
from millrace.store.open import open_store
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)
KINDS = ("created", "confirmed", "scheduled", "completed", "delivered")
_OF_ANY_GROUP = ("facts", "events", "streams", "positions")
_DAMAGE = (
    "UPDATE order_fact SET status = 'pending', messages = 0",
    "DELETE FROM event WHERE version > 1",
    "DELETE FROM stream WHERE id = (SELECT min(id) FROM stream)",
    "UPDATE stream SET version = 1, state = 'damaged'",
    "DELETE FROM message_id",
)


class Analytics:
    """The analytics service's consumer over topics, a group and a store of its own."""

    def __init__(self, kafka: str, topics: Mapping[str, str], url: str) -> None:
        self.kafka = KafkaConfig(kafka, session_timeout_seconds=6.0)
        self.topics = topics
        self.plan = replace(rebuildable(), group=f"analytics-{uuid4()}", topics=tuple(topics.values()))
        self.url = url
        self.store = open_store(url)
        self.store.migrate(*self.plan.migrations)
        self._session = self.store.session()
        self._producer = KafkaProducer(self.kafka)
        self._consumer: PipelineConsumer | None = None

    def send(self, *bodies: Protobuf) -> None:
        failures: list[object] = []
        for body in bodies:
            outgoing = marshal(body, source="/test")
            key, headers = (outgoing.message.key or "").encode(), encode_headers(outgoing.message)
            topic = self.topics[outgoing.topic]
            self._producer.send(topic, key, outgoing.message.payload, headers, lambda error, _: failures.append(error))
        assert self._producer.flush(30) == 0
        assert set(failures) <= {None}

    def start(self) -> None:
        plan = self.plan
        engine = Engine(EngineConfig(plan.group, "/shop/analytics"), plan.handlers, plan.registry, plan.projections)
        config = ConsumerConfig(plan.topics, commit_seconds=0.1)
        self._consumer = PipelineConsumer(config, self.kafka, engine, self.store, Health())
        self._consumer.start()

    def stop(self) -> None:
        if self._consumer is not None:
            self._consumer.stop()
            self._consumer = None

    def close(self) -> None:
        self.stop()
        self._session.close()
        self.store.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._session.transaction() as tx:
            return tx.sql.execute(query)

    def has_recorded(self, count: int) -> None:
        eventually(
            lambda: self.rows("SELECT count(*) FROM event") == [(count,)], 60, lambda: self.rows("SELECT count(*) FROM event")
        )

    def damage(self) -> None:
        for statement in _DAMAGE:
            self.rows(statement)

    def rebuild(self, **options: Any) -> Rebuilt:
        return rebuild_records(self.store, self.kafka, self.plan, **options)

    def holdings(self) -> Mapping[str, Sequence[tuple[Any, ...]]]:
        """Return all that is recorded and shown, but when, and in which order the messages of several topics were read."""
        return {
            "facts": sorted(self.rows("SELECT * FROM order_fact ORDER BY order_id"), key=str),
            "events": sorted(self.rows("SELECT stream, type, data, revision FROM event")),
            "streams": sorted(self.rows("SELECT id, version FROM stream")),
            "ids": sorted(self.rows("SELECT grp, id, sent_at FROM message_id")),
            "parked": sorted(self.rows("SELECT key, topic, state, blocks FROM parked")),
            "positions": sorted(
                self.rows("SELECT topic, part, next_offset FROM consumer_position WHERE next_offset IS NOT NULL")
            ),
        }


@pytest.fixture
def make(kafka: str, kafka_topic: Callable[..., str]) -> Iterator[Callable[[str], Analytics]]:
    """Give a factory of analytics services over the same topics, on the store at an address."""
    topics = {topic: kafka_topic(topic, partitions=2) for topic in rebuildable().topics}
    made: list[Analytics] = []

    def one(url: str) -> Analytics:
        made.append(Analytics(kafka, topics, url))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def analytics(request: pytest.FixtureRequest, make: Callable[[str], Analytics], tmp_path: Any) -> Analytics:
    return make(f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")())


def orders(about: Any, count: int) -> list[Protobuf]:
    """Return all messages of so many orders, those of different orders mixed."""
    each = [list(map(about(str(uuid4())).__getitem__, KINDS)) for _ in range(count)]
    return [messages.pop(0) for messages in random.Random(5).sample(each * len(KINDS), count * len(KINDS))]


def test_a_rebuild_from_kafka_equals_what_was_there(analytics: Analytics, about: Any) -> None:
    analytics.send(*orders(about, 20))
    analytics.start()
    analytics.has_recorded(100)
    analytics.stop()
    before = analytics.holdings()
    analytics.damage()
    assert analytics.rebuild() == Rebuilt(100, 20, 100)
    assert analytics.holdings() == before
    analytics.send(*orders(about, 2))
    analytics.start()
    analytics.has_recorded(110)


def test_a_store_that_is_lost_is_made_anew_with_its_positions(analytics: Analytics, about: Any, make: Any, tmp_path: Any) -> None:
    analytics.send(*orders(about, 4))
    analytics.start()
    analytics.has_recorded(20)
    analytics.stop()
    anew = make(f"sqlite:///{tmp_path}/anew.db")
    anew.rebuild()
    lost, found = analytics.holdings(), anew.holdings()
    assert {name: lost[name] for name in _OF_ANY_GROUP} == {name: found[name] for name in _OF_ANY_GROUP}


def test_what_the_service_writes_at_the_swap_is_waited_for(make: Any, postgres_url: Any, about: Any) -> None:
    """A batch of parked messages moves no position, so that only the tables' locks keep it out."""
    analytics = make(postgres_url())
    analytics.send(*orders(about, 2))
    analytics.start()
    analytics.has_recorded(10)
    analytics.stop()
    before = analytics.holdings()
    late = analytics.store.session()
    with ThreadPoolExecutor(1) as thread, psycopg.connect(analytics.url, autocommit=True) as asking:
        with late.transaction() as tx:
            tx.events.append([Append("timeline-late", 0, [NewEvent("OrderRecorded", "{}")], "{}", 2)], 1)
            tx.sql.settle()
            rebuilding = thread.submit(analytics.rebuild)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            eventually(lambda: rebuilding.done() or asking.execute(waiting).fetchone() == (1,), 60)
        rebuilding.result(60)
    late.close()
    assert analytics.holdings() == before


def test_a_rebuild_amid_live_messages_equals_a_replay(analytics: Analytics, about: Any, make: Any, tmp_path: Any) -> None:
    sent: list[int] = []
    failures: list[Exception] = []
    enough = threading.Event()

    def send() -> None:
        try:
            while not enough.wait(0.02):  # a pace that the service keeps up with
                messages = orders(about, 3)
                analytics.send(*messages)
                sent.append(len(messages))
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    def has_grown(beyond: int) -> bool:
        return len(sent) > beyond or bool(failures)

    analytics.start()
    sending = threading.Thread(target=send)
    sending.start()
    try:
        for _ in range(2):
            eventually(partial(has_grown, len(sent) + 5), 60)
            analytics.rows("UPDATE order_fact SET status = 'pending', messages = 0")
            analytics.rebuild()
    finally:
        enough.set()
        sending.join(60)
    assert failures == []
    analytics.has_recorded(sum(sent))
    analytics.stop()
    anew = make(f"sqlite:///{tmp_path}/anew.db")
    anew.rebuild()
    live, replay = analytics.holdings(), anew.holdings()
    assert {name: live[name] for name in _OF_ANY_GROUP} == {name: replay[name] for name in _OF_ANY_GROUP}


def test_what_kafka_no_longer_has_is_not_given_up_unasked(analytics: Analytics, about: Any) -> None:
    analytics.send(*orders(about, 4))
    analytics.start()
    analytics.has_recorded(20)
    analytics.stop()
    before = analytics.holdings()
    lost = analytics.topics["order.created"]
    analytics.plan = replace(analytics.plan, topics=tuple(topic for topic in analytics.plan.topics if topic != lost))
    with pytest.raises(Refused, match="4 streams would hold fewer events"):
        analytics.rebuild()
    assert analytics.holdings() == before
    assert analytics.rebuild(accept_less=True).events == 16


def test_dead_letters_stay_dead_and_those_given_up_stay_given_up(analytics: Analytics, about: Any) -> None:
    discarded, undecided = about("7"), about("8")
    analytics.send(discarded["created"], undecided["created"], *orders(about, 2))
    analytics.start()
    eventually(lambda: len(analytics.rows("SELECT 1 FROM parked WHERE state = 'dead'")) == 2, 60)
    analytics.send(discarded["scheduled"])
    eventually(lambda: len(analytics.rows("SELECT 1 FROM parked")) == 3, 60)
    letters = StoredLetters("analytics", analytics.store)
    assert letters.discard(letters.find(Wanted(key="7", state="dead")), "a test") >= 1
    eventually(lambda: len(analytics.rows("SELECT 1 FROM parked WHERE key = '7' AND state = 'retry'")) == 0, 60)
    if further := letters.find(Wanted(key="7", state="dead")):
        letters.discard(further, "a test")
    letters.close()
    analytics.has_recorded(10)
    analytics.stop()
    before = analytics.holdings()
    assert [row[0] for row in before["parked"]] == ["8"]
    published = analytics.rows("SELECT id FROM outbox")
    analytics.rows("UPDATE order_fact SET messages = 0")
    analytics.rebuild()
    assert analytics.holdings() == before
    assert analytics.rows("SELECT id FROM outbox") == published
