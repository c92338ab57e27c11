"""The broker or the dead letter topic is away while a message is dead-lettered: nothing is lost, nothing committed that was not parked."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from devkit.kafka import KafkaBroker
from millrace.cli.app import load_app
from millrace.decision import Context, Decision
from millrace.errors import Refused
from millrace.kafka.whole import read_whole
from millrace.message import Message, Record
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)
LETTERS = "payment.request.dlt"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()


@pytest.fixture
def alone(private_kafka: KafkaBroker, start: Callable[..., Any], url: str) -> Any:
    """Give a service on a broker of its own, with its dead letter topic."""
    running = start(url, broker=private_kafka.bootstrap)
    for future in running.admin.create_topics([NewTopic(LETTERS, 1)]).values():
        future.result()
    return running


def refuse(world: Any, first: Callable[[], object] = lambda: None) -> None:
    """Have messages marked "poison" refused; do something the first time for key a."""
    done: list[object] = []

    def poison(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        if body.order_id == "a" and not done:
            done.append(first())
        raise Refused("poison")

    world.scripts["poison"] = poison


def mixed(world: Any) -> tuple[list[Message], list[Message], list[Message]]:
    """Return messages to be sent: all, those of key a with a poisoned head, and those of key b, before and behind."""
    of_a = [world.message("a", does="poison"), *(world.message("a") for _ in range(3))]
    of_b = [world.message("b") for _ in range(6)]
    return [*of_b[:3], *of_a, *of_b[3:]], of_a, of_b


def accounted(running: Any) -> tuple[int, int]:
    """Return how far the store's position is, and how many messages are done or parked: never fewer than the position says."""
    with running.world.session.transaction() as tx:
        position = tx.sql.execute(
            "SELECT coalesce(sum(next_offset), 0) FROM consumer_position WHERE grp = :g", {"g": running.group}
        )
        done = tx.sql.execute("SELECT count(*) FROM event")
        parked = tx.sql.execute("SELECT count(*) FROM parked")
    assert done[0][0] + parked[0][0] >= int(position[0][0])
    return int(position[0][0]), int(done[0][0] + parked[0][0])


def parked(running: Any) -> list[tuple[str, str]]:
    return [(key, state) for key, state, *_ in running.world.parked()]


def waiting_copies(running: Any) -> list[str]:
    return [row.topic for row in running.world.outbox() if row.topic.endswith(".dlt")]


def letters(running: Any, topic: str) -> list[Record]:
    return [record for record, _ in read_whole(running.kafka, topic)]


PARKED = [("a", "dead"), ("a", "retry"), ("a", "retry"), ("a", "retry")]


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_broker_that_goes_away_while_a_message_is_dead_lettered_gets_the_copy_when_it_is_back(
    alone: Any, private_kafka: KafkaBroker, ends: str
) -> None:
    refuse(alone.world, getattr(private_kafka, ends))
    earlier = alone.world.message("c", does="poison")
    alone.send(earlier)
    alone.consumer()
    alone.relay()
    eventually(lambda: len(letters(alone, LETTERS)) == 1, 60, every_seconds=0.2)
    sent, of_a, of_b = mixed(alone.world)
    alone.send(*sent)
    alone.has(of_b, "b")
    assert parked(alone) == [("c", "dead"), *PARKED]
    assert accounted(alone) == (11, 11)
    eventually(lambda: not alone.health.snapshot()["kafka"].ok, 60)
    assert waiting_copies(alone) == [LETTERS]
    private_kafka.start()
    eventually(lambda: alone.world.outbox() == [], 90, lambda: len(alone.world.outbox()), every_seconds=0.2)
    eventually(lambda: alone.committed() == 11, 60, alone.committed, every_seconds=0.2)
    assert [letter.value for letter in letters(alone, LETTERS)] == [earlier.payload, of_a[0].payload]
    assert parked(alone) == [("c", "dead"), *PARKED]
    assert alone.world.notes("b") == [message.id for message in of_b]


def test_a_copy_that_a_silent_broker_does_not_take_in_time_is_sent_again(alone: Any, private_kafka: KafkaBroker) -> None:
    """The relay, which knows the topic, has sent the copy before it learns that nobody answers."""
    told: list[str] = []
    alone.health.listen(lambda name, part: told.append(f"{name}: {part.reason}"))
    refuse(alone.world, private_kafka.pause)
    earlier, bad = alone.world.message("c", does="poison"), alone.world.message("a", does="poison")
    alone.send(earlier)
    alone.consumer()
    alone.relay()
    eventually(lambda: len(letters(alone, LETTERS)) == 1, 60, every_seconds=0.2)
    alone.send(bad)
    try:
        eventually(lambda: any("MSG_TIMED_OUT" in reason for reason in told), 60, lambda: told[-5:])
        assert parked(alone) == [("c", "dead"), ("a", "dead")]
        assert waiting_copies(alone) == [LETTERS]
    finally:
        private_kafka.resume()
    eventually(lambda: alone.world.outbox() == [], 90, lambda: len(alone.world.outbox()), every_seconds=0.2)
    names = [dict(letter.headers)["x-millrace-parked"] for letter in letters(alone, LETTERS)]
    assert len(set(names)) == 2
    assert accounted(alone) == (2, 2)


def test_a_service_that_ends_while_the_broker_is_away_publishes_the_copy_in_its_next_life(
    alone: Any, private_kafka: KafkaBroker
) -> None:
    refuse(alone.world, private_kafka.kill)
    sent, of_a, of_b = mixed(alone.world)
    alone.send(*sent)
    alone.consumer()
    alone.has(of_b, "b")
    alone.stop()
    assert accounted(alone) == (10, 10)
    assert waiting_copies(alone) == [LETTERS]
    alone.consumer()
    alone.relay()
    private_kafka.start()
    eventually(lambda: alone.world.outbox() == [], 90, lambda: len(alone.world.outbox()), every_seconds=0.2)
    later = alone.world.message("b")
    alone.send(later)
    alone.has([*of_b, later], "b")
    assert parked(alone) == PARKED
    assert [letter.value for letter in letters(alone, LETTERS)] == [of_a[0].payload]


def test_without_a_dead_letter_topic_all_goes_on_and_the_copy_waits_until_the_topic_is_there(
    running: Any, dead_letter_topic: Callable[[str], str]
) -> None:
    refuse(running.world)
    sent, of_a, of_b = mixed(running.world)
    running.send(*sent)
    running.consumer()
    running.relay()
    running.has(of_b, "b")
    assert parked(running) == PARKED
    eventually(lambda: running.ends(running.results) == 6, 60, lambda: running.ends(running.results), every_seconds=0.2)
    eventually(lambda: running.committed() == 10, 60, running.committed)
    running.stop()
    assert waiting_copies(running) == [f"{running.requests}.dlt"]
    assert accounted(running) == (10, 10)
    running.consumer()
    running.relay()
    topic = dead_letter_topic(running.requests)
    eventually(lambda: running.world.outbox() == [], 90, running.world.outbox, every_seconds=0.2)
    assert [letter.value for letter in letters(running, topic)] == [of_a[0].payload]
    assert parked(running) == PARKED


def test_without_a_dead_letter_topic_a_letter_is_redriven_all_the_same(
    running: Any, dead_letter_topic: Callable[[str], str]
) -> None:
    refuse(running.world)
    sent, of_a, of_b = mixed(running.world)
    running.send(*sent)
    running.consumer()
    running.relay()
    running.has(of_b, "b")
    running.world.scripts.pop("poison")
    assert CliRunner().invoke(load_app(), ["dlt", "redrive", "--store", running.world.url, "--all", "--yes"]).exit_code == 0
    running.has([*of_a, *of_b], "a", "b")
    topic = dead_letter_topic(running.requests)
    eventually(lambda: running.world.outbox() == [], 90, running.world.outbox, every_seconds=0.2)
    copy, note = letters(running, topic)
    assert dict(note.headers)["x-millrace-settles"] == dict(copy.headers)["x-millrace-parked"]


def test_where_the_copy_cannot_be_queued_nothing_is_parked_and_nothing_committed(
    running: Any, dead_letter_topic: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    world, topic = running.world, dead_letter_topic(running.requests)
    refuse(world)
    before = world.message("b")
    running.send(before)
    running.consumer()
    running.has([before], "b")
    eventually(lambda: running.committed() == 1, 30, running.committed)
    with world.session.transaction() as tx:
        tx.sql.execute("ALTER TABLE outbox RENAME TO outbox_elsewhere")
    sent, _, of_b = mixed(world)
    running.send(*sent)
    eventually(lambda: caplog.messages.count("consumer starts over") >= 2, 60, lambda: caplog.messages)
    assert accounted(running) == (1, 1)
    assert running.committed() == 1
    with world.session.transaction() as tx:
        tx.sql.execute("ALTER TABLE outbox_elsewhere RENAME TO outbox")
    running.relay()
    running.has([before, *of_b], "b")
    assert parked(running) == PARKED
    eventually(lambda: len(letters(running, topic)) == 1, 60, every_seconds=0.2)


def test_the_dead_letter_topic_removed_and_made_anew_gets_what_came_meanwhile(alone: Any) -> None:
    refuse(alone.world)
    first, second = alone.world.message("a", does="poison"), alone.world.message("c", does="poison")
    alone.send(first)
    alone.consumer()
    alone.relay()
    eventually(lambda: len(letters(alone, LETTERS)) == 1, 60, every_seconds=0.2)
    admin = AdminClient({"bootstrap.servers": alone.kafka.bootstrap})
    for future in admin.delete_topics([LETTERS]).values():
        future.result()
    eventually(lambda: LETTERS not in admin.list_topics(timeout=10).topics, 30)
    alone.send(second)
    eventually(lambda: parked(alone) == [("a", "dead"), ("c", "dead")], 60, lambda: parked(alone))
    for future in admin.create_topics([NewTopic(LETTERS, 1)]).values():
        future.result()
    eventually(lambda: alone.world.outbox() == [], 90, alone.world.outbox, every_seconds=0.2)
    assert [letter.key for letter in letters(alone, LETTERS)] == [b"c"]
