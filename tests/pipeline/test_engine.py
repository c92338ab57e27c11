"""The engine decides each message once and commits what follows as a whole, over every store."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millrace.decision import Context, Decision, Publish
from millrace.errors import PositionLost, Refused
from millrace.inbox.positions import Move, PartitionId, Position
from millrace.message import CAUSATION_ID, CORRELATION_ID, SEQUENCE, TRACEPARENT
from millrace.pipeline.attempt import lock_id
from millrace.pipeline.engine import Batch
from millrace.pipeline.inputs import Input


def test_a_message_appends_projects_and_publishes(world: Any) -> None:
    message = world.message("a", 5)
    world.process(world.record(message))
    assert world.account("a") == world.Account(5, (message.id,))
    assert world.model() == [("account-a", message.id)]
    (row,) = world.outbox()
    assert (row.topic, row.key) == ("payment.result", b"a")
    assert world.payment.PaymentChargedEvent.FromString(row.payload).amount.minor_units == 5


def test_what_a_message_causes_tells_where_it_came_from(world: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    first = world.message("a", headers={CORRELATION_ID: "the first cause", TRACEPARENT: trace})
    second = world.message("a")
    world.process(*world.records(first, second))
    one, two = (world.headers(row) for row in world.outbox())
    assert (one[CORRELATION_ID], one[CAUSATION_ID], one[SEQUENCE], one[TRACEPARENT]) == ("the first cause", first.id, "1", trace)
    assert (two[CORRELATION_ID], two[CAUSATION_ID], two[SEQUENCE]) == (second.id, second.id, "2")
    assert TRACEPARENT not in two
    assert one["ce_source"] == "/accounts"
    assert one["ce_type"] == "shop.payment.v1.PaymentChargedEvent"
    assert one["ce_id"] == world.outbox()[0].message_id != two["ce_id"]


def test_a_message_delivered_again_changes_nothing(world: Any) -> None:
    message = world.message("a", 5)
    world.process(world.record(message))
    world.process(world.record(message))
    assert world.account("a").total == 5
    assert len(world.outbox()) == 1


def test_a_message_twice_in_one_batch_counts_once(world: Any) -> None:
    message, other = world.message("a", 5), world.message("a", 7)
    world.process(*world.records(message, other, message))
    assert world.notes("a") == [message.id, other.id]


def test_the_messages_of_a_stream_are_folded_in_their_order_with_one_snapshot(world: Any) -> None:
    messages = [world.message("a", number) for number in range(1, 21)]
    world.process(*world.records(*messages, world.message("b", 100)))
    assert world.notes("a") == [message.id for message in messages]
    with world.session.transaction() as tx:
        stored = tx.events.load(["account-a"])["account-a"]
    assert stored.version == 20
    assert '"total":210' in stored.state
    assert [world.headers(row)[SEQUENCE] for row in world.outbox() if row.key == b"a"] == [str(n) for n in range(1, 21)]


@pytest.mark.parametrize("damage", ["not json", '{"total": "many"}', ""])
def test_a_damaged_snapshot_is_told_of_and_made_again_from_the_events(
    world: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    def corrupt() -> float:
        return REGISTRY.get_sample_value("millrace_corrupt_snapshots_total", {"category": "account"}) or 0.0

    world.process(*world.records(world.message("a", 5), world.message("a", 6)))
    with world.session.transaction() as tx:
        tx.sql.execute("UPDATE stream SET state = :damage", {"damage": damage})
    before = corrupt()
    for amount in (7, 8):
        world.process(world.record(world.message("a", amount)))
    with world.session.transaction() as tx:
        assert '"total":26' in tx.events.load(["account-a"])["account-a"].state
    assert corrupt() - before == 1
    told = [record for record in caplog.records if record.message == "a snapshot cannot be read, its stream is replayed"]
    assert [(record.levelname, record.__dict__["stream"]) for record in told] == [("WARNING", "account-a")]


def test_a_snapshot_taken_away_is_made_again_from_the_events(world: Any) -> None:
    world.process(world.record(world.message("a", 5)))
    with world.session.transaction() as tx:
        tx.sql.execute("UPDATE stream SET state = NULL")
    world.process(world.record(world.message("a", 7)))
    with world.session.transaction() as tx:
        assert '"total":12' in tx.events.load(["account-a"])["account-a"].state


def test_a_stream_whose_events_are_not_all_there_is_not_replayed_into_a_wrong_state(world: Any) -> None:
    world.process(*world.records(world.message("a", 5), world.message("a", 6), world.message("b", 5)))
    with world.session.transaction() as tx:
        tx.sql.execute("UPDATE stream SET state = 'damaged'")
        tx.sql.execute("DELETE FROM event WHERE stream = 'account-a' AND version = 1")
    world.process(*world.records(world.message("a", 7), world.message("b", 7)))
    assert world.parked() == [("a", "retry", 1, True)]
    assert world.account("b").total == 12


def test_a_snapshot_of_an_older_shape_is_not_believed(world: Any) -> None:
    world.process(world.record(world.message("a", 5)))
    with world.session.transaction() as tx:
        tx.sql.execute("UPDATE stream SET state = :lie", {"lie": '{"total":1000,"notes":[]}'})
    world.engine = world.new_engine(replace(world.ACCOUNTS, snapshot_version=2))
    world.process(world.record(world.message("a", 6)))
    with world.session.transaction() as tx:
        stored = tx.events.load(["account-a"])["account-a"]
    assert '"total":11' in stored.state
    assert stored.snapshot_version == 2


def test_two_threads_that_meet_on_new_streams_both_have_their_effect_once(world: Any) -> None:
    batches = [[world.record(world.message(f"a{n % 7}")) for n in range(30)] for _ in range(4)]
    failures: list[Exception] = []

    def work(records: list[Any]) -> None:
        session = world.store.session()
        try:
            for part in (records[:10], records[10:20], records[20:]):
                world.engine.process(session, Batch([world.engine.decoder.decode(record) for record in part]))
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)
        session.close()

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sum(world.account(f"a{n}").total for n in range(7)) == 120
    assert len(world.outbox()) == 120


def test_a_batch_waits_for_another_that_works_on_its_key(world: Any) -> None:
    batch = Batch([world.engine.decoder.decode(world.record(world.message("a")))])
    session = world.store.session()
    working = threading.Thread(target=lambda: world.engine.process(session, batch))
    with world.session.transaction() as tx:
        tx.sql.lock([lock_id(world.group, "a")])
        working.start()
        working.join(0.3)
        assert working.is_alive()
        assert tx.events.read("account-a") == []
    working.join(30)
    session.close()
    assert world.account("a").total == 1


def test_a_stream_another_writer_moved_meanwhile_is_decided_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams may be shared across keys, so the key's lock does not exclude the other writer of a new stream."""
    world.process(world.record(world.message("a", 1)))
    seen: list[int] = []

    def meddle(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        seen.append(states["account-a"].total)
        return Decision([("account-a", world.Charged(10, f"run {len(seen)}"))])

    world.scripts["meddle"] = meddle
    from millrace.eventstore.events import EventStore

    load = EventStore.load
    misses = iter([True])

    def stale(self: EventStore, streams: Any) -> Any:
        found = load(self, streams)
        return {} if next(misses, False) else found

    monkeypatch.setattr(EventStore, "load", stale)
    world.process(world.record(world.message("a", does="meddle")))
    assert seen == [0, 1]
    assert world.notes("a")[1:] == ["run 2"]
    assert len(world.model()) == 2


def test_a_position_that_is_lost_rolls_everything_back(world: Any) -> None:
    part = PartitionId("payment.request", "id", 0)
    with world.session.transaction() as tx:
        held = tx.positions.claim(world.group, [part])[part]
        tx.positions.claim(world.group, [part])
    record = world.record(world.message("a"))
    heard: list[object] = []
    world.engine.listen(heard.append)
    with pytest.raises(PositionLost):
        world.process(record, moves=[Move(part, held, 1)])
    assert (world.events(), world.outbox(), world.model(), heard) == ([], [], [], [])
    world.process(record, moves=[Move(part, Position(None, held.owner_epoch + 1), 1)])
    assert len(world.events()) == 1
    with world.session.transaction() as tx:
        assert tx.positions.claim(world.group, [part])[part].next_offset == 1


def test_listeners_hear_of_what_was_committed_and_of_nothing_else(world: Any) -> None:
    heard: list[tuple[int, int]] = []
    world.engine.listen(lambda committed: heard.append((committed.published, len(committed.effects))))
    world.scripts["call"] = lambda body, states, context: Decision(effects=[world.effect("e", body.order_id)])
    world.scripts["nothing"] = lambda body, states, context: Decision()
    world.process(world.record(world.message("a", does="nothing")))
    world.process(*world.records(world.message("a"), world.message("b", does="call")))
    assert heard == [(1, 1)]


def test_commands_of_the_edge_get_their_replies_and_errors(world: Any) -> None:
    inputs = [
        Input("one", "a", world.Deposit("a", 5), {}),
        Input("two", "a", world.Deposit("a", refuse=True), {}),
        Input("three", "a", world.Deposit("a", 7), {}),
    ]
    results = world.process(inputs=inputs)
    assert [results[name].reply for name in ("one", "three")] == [5, 12]
    assert isinstance(results["two"].error, KeyError)
    assert world.notes("a") == ["one", "three"]
    assert world.parked() == []


def test_a_command_for_a_key_with_parked_messages_is_decided_nevertheless(world: Any) -> None:
    def refuse(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        raise Refused("no")

    world.scripts["refuse"] = refuse
    world.process(world.record(world.message("a", does="refuse")))
    results = world.process(inputs=[Input("one", "a", world.Deposit("a", 5), {})])
    assert results["one"].reply == 5


def test_a_command_whose_data_the_database_refuses_is_told_and_the_others_commit(world: Any) -> None:
    inputs = [Input(str(n), f"a{n}", world.Deposit(f"a{n}", 2**62 if n == 3 else 1), {}) for n in range(6)]
    results = world.process(inputs=inputs)
    assert [name for name, result in results.items() if result.error] == ["3"]
    assert len(world.model()) == 5


def test_half_of_a_decision_is_never_written(world: Any) -> None:
    def half(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        good = ("account-a", world.Charged(1, "half"))
        return Decision(
            [good, ("undeclared-1", world.Charged(1, "x"))], [Publish(world.payment.PaymentChargedEvent(order_id="a"))]
        )

    def no_key(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        return Decision([("account-b", world.Charged(1, "half"))], [Publish(world.payment.PaymentChargedEvent())])

    world.scripts |= {"half": half, "no key": no_key}
    world.process(*world.records(world.message("a", does="half"), world.message("b", does="no key"), world.message("c")))
    assert [stream for stream, _ in world.events()] == ["account-c"]
    assert [row.topic for row in world.outbox()].count("payment.result") == 1
    assert [key for key, *_ in world.parked()] == ["a", "b"]


def test_a_message_too_large_for_the_broker_is_refused_before_it_is_committed(world: Any) -> None:
    world.engine = world.new_engine(max_message_bytes=100)

    def large(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        return Decision(publish=[Publish(world.payment.PaymentDeclinedEvent(order_id="a", reason="x" * 200))])

    world.scripts["large"] = large
    world.process(world.record(world.message("a", does="large")))
    assert [row.topic for row in world.outbox()] == ["payment.request.dlt"]
