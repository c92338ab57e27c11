"""The part of the stores' conformance suite that is about what waits: outbox, positions, message ids, parked messages, timers, effects.

Part of `StoreConformance`; not to be subclassed by itself.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from millrace.clock import micros
from millrace.inbox.message_ids import KEEP_DAYS
from millrace.inbox.parked import ParkedMessage, State
from millrace.inbox.positions import Move, PartitionId, Position, Reset
from millrace.outbox.outbox import LeftOut, OutboxRow
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.timers import Timer
from millrace.store.contract import Session, Transaction

GROUP = "group"


def row(number: int, topic: str = "topic") -> OutboxRow:
    """Return an outbox row, numbered by payload and message id."""
    return OutboxRow(topic, b"key", b"%d" % number, b"\x90", f"message-{number}")


def timer(name: str, *, due_at: int | None = 0, attempt: int = 1, awaits: str | None = None, headers: str = "{}") -> Timer:
    """Return a timer that is due at `due_at`, or ten microseconds after the delivery it awaits."""
    return Timer(name, f"key of {name}", "kind", attempt, 10, due_at, awaits, headers)


def effect(name: str, key: str = "key") -> PendingEffect:
    """Return an effect of that id."""
    return PendingEffect(name, key, "Kind", "{}", "{}")


def parked(key: str, record: bytes, *, due_at: int = 0, state: State = "retry", blocks: bool = True) -> ParkedMessage:
    """Return a message that failed once."""
    return ParkedMessage(key, record, "topic", 1, due_at, state, blocks, "reason", 5)


class QueueConformance:
    """Every promise of the queues and sets of a `Transaction`. Takes the fixtures `session` and `tx`."""

    # outbox

    def test_the_outbox_gives_its_oldest_first_and_leaves_out_what_is_to_be_skipped(self, tx: Transaction) -> None:
        tx.outbox.add([row(1), row(2)])
        tx.outbox.add([row(3)])
        rows = tx.outbox.head(10)
        assert next((r.topic, r.key, r.payload, r.headers, r.message_id) for r in rows) == (
            "topic",
            b"key",
            b"1",
            b"\x90",
            "message-1",
        )
        assert [r.payload for r in tx.outbox.head(2)] == [b"1", b"2"]
        assert [r.payload for r in tx.outbox.head(2, LeftOut(ids=[rows[0].id]))] == [b"2", b"3"]

    def test_the_outbox_leaves_out_topics_lanes_and_messages_without_hiding_others(self, tx: Transaction) -> None:
        keys = (b"k", b"l", None)
        tx.outbox.add(
            [OutboxRow(topic, key, b"", b"\x90", f"{topic} {key!r}") for topic in "abc" for key in keys for _ in range(20)]
        )
        single = next(r.id for r in tx.outbox.head(180) if r.lane == ("b", None))
        left_out = LeftOut(["a"], [("b", b"k"), ("c", b"l")], [single])
        found = tx.outbox.head(30, left_out)
        assert [r.lane for r in found] == [("b", b"l")] * 20 + [("b", None)] * 10
        assert single not in {r.id for r in found}
        rest = [r.lane for r in tx.outbox.head(180, left_out)]
        assert {lane: rest.count(lane) for lane in rest} == {("b", b"l"): 20, ("b", None): 19, ("c", b"k"): 20, ("c", None): 20}

    def test_the_outbox_knows_how_much_waits_and_since_when(self, tx: Transaction) -> None:
        assert tx.outbox.backlog(10) == (0, None)
        tx.outbox.add([row(1)], 1000)
        tx.outbox.add([row(2), row(3)], 2000)
        assert tx.outbox.backlog(10) == (3, 1000)
        assert tx.outbox.backlog(2) == (2, 1000)
        tx.outbox.delivered(tx.outbox.head(1), 1)
        assert tx.outbox.backlog(10) == (2, 2000)

    def test_a_delivered_message_leaves_the_outbox_and_no_other(self, tx: Transaction) -> None:
        tx.outbox.add([row(1), row(2), row(3)])
        tx.outbox.delivered([tx.outbox.head(3)[1]], 1)
        assert [r.payload for r in tx.outbox.head(10)] == [b"1", b"3"]
        assert tx.outbox.size() == 2

    def test_a_message_without_key_and_payload_is_kept_as_such(self, tx: Transaction) -> None:
        tx.outbox.add([OutboxRow("topic", None, None, b"\x90", "id")])
        assert [(r.key, r.payload) for r in tx.outbox.head(1)] == [(None, None)]

    def test_a_deadline_starts_at_its_messages_delivery(self, tx: Transaction) -> None:
        tx.outbox.add([row(1), row(2)])
        tx.timers.start(GROUP, [timer("waits", due_at=None, awaits="message-1"), timer("on", due_at=None, awaits="message-2")])
        assert tx.timers.due(GROUP, 10**15, 10) == []
        tx.outbox.delivered(tx.outbox.head(1), 1000)
        assert [(t.id, t.due_at, t.awaits) for t in tx.timers.due(GROUP, 10**15, 10)] == [("waits", 1010, None)]

    # positions

    def test_a_partition_never_read_has_no_offset_and_each_claim_raises_its_epoch(self, tx: Transaction) -> None:
        part = PartitionId("topic", "id", 3)
        assert tx.positions.claim(GROUP, [part]) == {part: Position(None, 1)}
        assert tx.positions.claim(GROUP, [part]) == {part: Position(None, 2)}
        assert tx.positions.claim("other group", [part]) == {part: Position(None, 1)}

    def test_a_position_moves_only_from_where_it_stands(self, tx: Transaction) -> None:
        part = PartitionId("topic", "id", 0)
        held = tx.positions.claim(GROUP, [part])[part]
        assert tx.positions.advance(GROUP, [Move(part, held, 5)])()
        assert not tx.positions.advance(GROUP, [Move(part, held, 5)])()
        assert not tx.positions.advance(GROUP, [Move(part, Position(4, held.owner_epoch), 9)])()
        assert tx.positions.advance(GROUP, [Move(part, Position(5, held.owner_epoch), 9)])()
        assert tx.positions.claim(GROUP, [part])[part].next_offset == 9

    def test_who_lost_a_partition_moves_it_no_more(self, tx: Transaction) -> None:
        part = PartitionId("topic", "id", 0)
        old = tx.positions.claim(GROUP, [part])[part]
        new = tx.positions.claim(GROUP, [part])[part]
        assert not tx.positions.advance(GROUP, [Move(part, old, 5)])()
        assert tx.positions.advance(GROUP, [Move(part, new, 5)])()

    def test_one_missed_position_is_told_though_others_moved(self, tx: Transaction) -> None:
        parts = [PartitionId("topic", "id", number) for number in (0, 1)]
        held = tx.positions.claim(GROUP, parts)
        moves = [Move(parts[0], held[parts[0]], 5), Move(parts[1], Position(3, 1), 5)]
        assert not tx.positions.advance(GROUP, moves)()

    def test_a_reset_moves_a_position_once_and_only_for_its_owner(self, tx: Transaction) -> None:
        part, other = PartitionId("topic", "id", 0), PartitionId("topic", "id", 1)
        held = tx.positions.claim(GROUP, [part, other])
        tx.positions.advance(GROUP, [Move(part, held[part], 5)])()
        assert tx.positions.reset(GROUP, [Reset(part, 9, 2, "one"), Reset(other, 1, 3, "one")]) == {other: Position(3, 1)}
        assert tx.positions.reset(GROUP, [Reset(part, 1, 2, "one")]) == {part: Position(2, 1)}
        assert tx.positions.advance(GROUP, [Move(part, Position(2, 1), 4)])()
        assert tx.positions.reset(GROUP, [Reset(part, 1, 2, "one")]) == {}
        assert tx.positions.reset(GROUP, [Reset(part, 1, 1, "two")]) == {part: Position(1, 1)}

    def test_a_topic_made_anew_has_positions_of_its_own(self, tx: Transaction) -> None:
        old, new = PartitionId("topic", "old", 0), PartitionId("topic", "new", 0)
        tx.positions.advance(GROUP, [Move(old, tx.positions.claim(GROUP, [old])[old], 5)])()
        assert tx.positions.claim(GROUP, [new])[new] == Position(None, 1)
        assert tx.positions.topics_read(GROUP) == {"topic"}
        assert tx.positions.topics_read("other") == set()

    def test_a_group_has_caught_up_as_far_as_its_slowest_partition(self, tx: Transaction) -> None:
        parts = [PartitionId("topic", "id", number) for number in (0, 1)]
        held = tx.positions.claim(GROUP, parts)
        topics = {"topic": ("id", 2)}
        tx.positions.caught_up(GROUP, {parts[0]: held[parts[0]]}, 50)
        assert tx.positions.least_caught_up(GROUP, topics) == 0
        tx.positions.caught_up(GROUP, {parts[1]: held[parts[1]]}, 40)
        assert tx.positions.least_caught_up(GROUP, topics) == 40
        assert tx.positions.least_caught_up(GROUP, {"topic": ("id", 3)}) == 0
        assert tx.positions.least_caught_up(GROUP, {"topic": ("another id", 1)}) == 0

    def test_who_lost_a_partition_cannot_say_it_caught_up(self, tx: Transaction) -> None:
        part = PartitionId("topic", "id", 0)
        old = tx.positions.claim(GROUP, [part])
        tx.positions.claim(GROUP, [part])
        tx.positions.caught_up(GROUP, old, 50)
        assert tx.positions.least_caught_up(GROUP, {"topic": ("id", 1)}) == 0

    # message ids

    def test_a_message_id_is_new_once_for_each_group(self, tx: Transaction) -> None:
        assert tx.message_ids.remember(GROUP, [("a", 1), ("b", 2), ("a", 1)])() == {"a", "b"}
        assert tx.message_ids.remember(GROUP, [("b", 2), ("c", 3)])() == {"c"}
        assert tx.message_ids.remember("other", [("b", 2)])() == {"b"}

    def test_message_ids_are_remembered_through_the_maintenance_of_days(self, session: Session) -> None:
        first = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
        sent = [(f"id-{day}", micros(first + timedelta(days=day))) for day in range(-2, 4)]
        with session.transaction() as tx:
            tx.message_ids.remember(GROUP, sent)()
        for day in range(KEEP_DAYS - 2):
            with session.transaction() as tx:
                tx.message_ids.maintain(first + timedelta(days=day))
                tx.message_ids.maintain(first + timedelta(days=day))
                assert tx.message_ids.remember(GROUP, sent)() == set(), f"on day {day}"
                today = (f"of day {day}", micros(first + timedelta(days=day)))
                assert tx.message_ids.remember(GROUP, [today, today])() == {today[0]}

    def test_message_ids_are_forgotten_once_they_are_too_old(self, session: Session) -> None:
        first = datetime(2026, 3, 1, 12, tzinfo=UTC)
        old, young = ("old", micros(first)), ("young", micros(first + timedelta(days=KEEP_DAYS)))
        with session.transaction() as tx:
            tx.message_ids.maintain(first)
            tx.message_ids.remember(GROUP, [old, young])()
        for day in range(1, KEEP_DAYS + 2):
            with session.transaction() as tx:
                tx.message_ids.maintain(first + timedelta(days=day))
        with session.transaction() as tx:
            assert tx.message_ids.remember(GROUP, [old, young])() == {"old"}

    # parked messages

    def test_the_parked_messages_of_a_key_are_given_in_their_order_up_to_one_that_cannot_be_tried(self, tx: Transaction) -> None:
        tx.parked.park(
            GROUP, [parked("a", b"1"), parked("b", b"2"), parked("a", b"3"), parked("a", b"4", due_at=9), parked("a", b"5")]
        )
        tx.parked.park(GROUP, [parked("b", b"6", state="dead"), parked("b", b"7")])
        tx.parked.park("other", [parked("a", b"8")])
        assert [m.record for m in tx.parked.run(GROUP, ["a", "b"], now=5)] == [b"1", b"3", b"2"]
        assert [m.record for m in tx.parked.run(GROUP, ["a"], now=9)] == [b"1", b"3", b"4", b"5"]

    def test_a_key_is_due_when_its_head_is(self, tx: Transaction) -> None:
        tx.parked.park(GROUP, [parked("late", b"1", due_at=20), parked("late", b"2"), parked("soon", b"3", due_at=7)])
        tx.parked.park(GROUP, [parked("now", b"4", due_at=3), parked("dead", b"5", state="dead"), parked("dead", b"6")])
        assert tx.parked.due_keys(GROUP, 6, 10) == ["now"]
        assert tx.parked.due_keys(GROUP, 30, 10) == ["now", "soon", "late"]
        assert tx.parked.due_keys(GROUP, 30, 1) == ["now"]
        assert tx.parked.due_keys("other", 30, 10) == []

    def test_crowded_keys_give_the_last_record_of_each_of_their_topics(self, tx: Transaction) -> None:
        tx.parked.park(
            GROUP, [parked("a", b"1"), parked("a", b"2"), replace(parked("a", b"3"), topic="other"), parked("b", b"4")]
        )
        tx.parked.park("other group", [parked("b", b"5"), parked("b", b"6"), parked("b", b"7")])
        assert sorted(tx.parked.crowding(GROUP, 3)) == [b"2", b"3"]
        assert tx.parked.crowding(GROUP, 4) == []

    def test_what_blocks_nothing_counts_for_no_limit_and_is_forgotten_in_time(self, tx: Transaction) -> None:
        idle = replace(parked("a", b"1", state="dead", blocks=False), parked_at=10)
        tx.parked.park(GROUP, [idle, replace(idle, parked_at=20), parked("a", b"2"), parked("b", b"3", state="dead")])
        assert tx.parked.count(GROUP) == 2
        assert tx.parked.crowding(GROUP, 2) == []
        tx.parked.forget(15)
        assert [m.parked_at for m in tx.parked.list(GROUP)] == [20, 5, 5]

    def test_a_parked_message_that_does_not_block_leaves_its_key_free(self, tx: Transaction) -> None:
        tx.parked.park(
            GROUP,
            [parked("a", b"1", state="dead", blocks=False), parked("b", b"2"), parked("a", b"3", state="dead", blocks=False)],
        )
        assert tx.parked.blocked(GROUP, ["a", "b", "c"])() == {"b"}
        assert tx.parked.blocked("other", ["a", "b"])() == set()
        assert tx.parked.run(GROUP, ["a"], now=5) == []

    def test_released_messages_are_gone_and_updated_ones_keep_their_place(self, tx: Transaction) -> None:
        tx.parked.park(GROUP, [parked("a", b"1"), parked("a", b"2")])
        first, second = tx.parked.run(GROUP, ["a"], now=0)
        changed = ParkedMessage("a", b"ignored", "topic", 2, 50, "dead", True, "again", 5, first.seq)
        tx.parked.update([changed])
        head = tx.parked.list(GROUP)[0]
        assert (head.record, head.attempt, head.due_at, head.state, head.reason) == (b"1", 2, 50, "dead", "again")
        tx.parked.release([head])
        assert [m.seq for m in tx.parked.run(GROUP, ["a"], now=0)] == [second.seq]
        assert tx.parked.count(GROUP) == 1

    # timers

    def test_a_timer_started_again_is_replaced(self, tx: Transaction) -> None:
        first, second = timer("t", due_at=5, headers='{"a": "1"}'), timer("t", due_at=9, attempt=2, headers='{"a": "2"}')
        tx.timers.start(GROUP, [first])
        assert tx.timers.due(GROUP, 5, 10) == [first]
        tx.timers.start(GROUP, [second])
        assert tx.timers.due(GROUP, 8, 10) == []
        assert tx.timers.due(GROUP, 9, 10) == [second]

    def test_timers_are_due_the_longest_due_first_and_not_before(self, tx: Transaction) -> None:
        tx.timers.start(GROUP, [timer("late", due_at=9), timer("soon", due_at=2), timer("mid", due_at=5)])
        assert [t.id for t in tx.timers.due(GROUP, 8, 10)] == ["soon", "mid"]
        assert [t.id for t in tx.timers.due(GROUP, 9, 1)] == ["soon"]
        assert tx.timers.due("other", 9, 10) == []

    def test_a_timer_is_taken_once_and_not_if_it_was_set_anew(self, tx: Transaction) -> None:
        tx.timers.start(GROUP, [timer("a", due_at=1), timer("b", due_at=1)])
        found = tx.timers.due(GROUP, 1, 10)
        tx.timers.start(GROUP, [timer("b", due_at=7)])
        assert [t.id for t in tx.timers.take(found)] == ["a"]
        assert tx.timers.take(found) == []
        assert [t.id for t in tx.timers.due(GROUP, 7, 10)] == ["b"]

    def test_a_cancelled_timer_is_gone_and_unknown_ones_are_no_fault(self, tx: Transaction) -> None:
        tx.timers.start(GROUP, [timer("a", due_at=1), timer("b", due_at=1)])
        tx.timers.cancel(["a", "unknown"])
        assert [t.id for t in tx.timers.due(GROUP, 1, 10)] == ["b"]

    # effects

    def test_an_effect_is_leased_to_one_until_its_lease_runs_out(self, tx: Transaction) -> None:
        tx.effects.add(GROUP, [effect("b"), effect("a")], 10)
        assert tx.effects.lease(GROUP, 9, 30, 10) == []
        assert [e.id for e in tx.effects.lease(GROUP, 10, 30, 10)] == ["b", "a"]
        assert tx.effects.lease(GROUP, 29, 50, 10) == []
        assert tx.effects.lease("other", 30, 50, 10) == []
        assert [e.id for e in tx.effects.lease(GROUP, 30, 50, 1)] == ["b"]

    def test_an_extended_lease_lasts_longer(self, tx: Transaction) -> None:
        tx.effects.add(GROUP, [effect("a"), effect("b")], 10)
        tx.effects.extend(["a"], 20)
        assert [e.id for e in tx.effects.lease(GROUP, 15, 30, 10)] == ["b"]

    def test_an_effect_added_twice_is_kept_as_it_was(self, tx: Transaction) -> None:
        tx.effects.add(GROUP, [effect("a", key="first")], 10)
        tx.effects.add(GROUP, [effect("a", key="second")], 0)
        assert tx.effects.lease(GROUP, 9, 30, 10) == []
        assert [e.key for e in tx.effects.lease(GROUP, 10, 30, 10)] == ["first"]

    def test_pending_effects_are_counted_for_their_group_up_to_a_most(self, tx: Transaction) -> None:
        tx.effects.add(GROUP, [effect(f"e{number}") for number in range(3)], 1)
        tx.effects.add("other group", [effect("other")], 1)
        assert tx.effects.count(GROUP, 10) == 3
        assert tx.effects.count(GROUP, 2) == 2
        tx.effects.done(["e1"])
        assert tx.effects.count(GROUP, 10) == 2

    def test_an_effect_is_done_once(self, tx: Transaction) -> None:
        tx.effects.add(GROUP, [effect("a"), effect("b")], 0)
        assert tx.effects.done(["a", "unknown"]) == {"a"}
        assert tx.effects.done(["a"]) == set()
        assert [e.id for e in tx.effects.lease(GROUP, 1, 2, 10)] == ["b"]
