"""The conformance suite of stores: what every database must promise before the pipeline may be run on it.

Subclass `StoreConformance` in a test file and give it a fixture `store`, a migrated, empty `Store`. Two sessions of a store whose
transactions exclude one another take turns; where writers work side by side, `concurrent_writers` is true and more is checked.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from millrace.errors import VersionConflict
from millrace.eventstore.events import NO_STREAM, Append, NewEvent, StoredStream
from millrace.inbox.positions import PartitionId, Position
from millrace.store.contract import Session, Store, Transaction
from millrace.testing.store_queues import QueueConformance, effect, parked, row, timer

GROUP = "group"
_PATIENCE_SECONDS = 20.0


class Undone(Exception):
    """Raised by a test to have its transaction rolled back."""


def append(stream: str, expected: int, *names: str, state: str = "{}") -> Append:
    """Return an append of events of these types."""
    return Append(stream, expected, [NewEvent(name, f'{{"n": "{name}"}}') for name in names], state, 1)


class StoreConformance(QueueConformance):
    """Every promise of `Store`, `Session` and the parts of a `Transaction`."""

    concurrent_writers = False

    @pytest.fixture
    def session(self, store: Store) -> Iterator[Session]:
        session = store.session()
        yield session
        session.close()

    @pytest.fixture
    def tx(self, session: Session) -> Iterator[Transaction]:
        with session.transaction() as tx:
            yield tx

    # transactions

    def test_a_transaction_that_raises_leaves_nothing_behind(self, session: Session) -> None:
        with suppress(Undone), session.transaction() as tx:
            tx.events.append([append("order-1", 0, "Placed")], 1)
            tx.outbox.add([row(1)])
            tx.message_ids.remember(GROUP, [("id", 1)])
            tx.parked.park(GROUP, [parked("key", b"1")])
            tx.timers.start(GROUP, [timer("t")])
            tx.effects.add(GROUP, [effect("e")], 0)
            tx.positions.claim(GROUP, [PartitionId("topic", "id", 0)])
            raise Undone
        with session.transaction() as tx:
            assert tx.events.load(["order-1"]) == {}
            assert tx.events.read("order-1") == []
            assert tx.outbox.size() == 0
            assert tx.message_ids.remember(GROUP, [("id", 1)]) == {"id"}
            assert tx.parked.count(GROUP) == 0
            assert tx.timers.due(GROUP, 10, 10) == []
            assert tx.effects.lease(GROUP, 10, 20, 10) == []
            assert tx.positions.claim(GROUP, [PartitionId("topic", "id", 0)]) == {
                PartitionId("topic", "id", 0): Position(None, 1)
            }

    def test_a_session_goes_on_after_a_statement_failed(self, session: Session) -> None:
        with pytest.raises(Exception, match="nowhere"), session.transaction() as tx:
            tx.sql.execute("SELECT 1 FROM nowhere")
        with session.transaction() as tx:
            assert tx.sql.execute("SELECT 1") == [(1,)]

    def test_what_one_session_committed_another_sees(self, store: Store, session: Session) -> None:
        other = store.session()
        with session.transaction() as tx:
            tx.outbox.add([row(1)])
        with other.transaction() as tx:
            assert tx.outbox.size() == 1
        other.close()

    def test_migrating_again_changes_nothing(self, store: Store, session: Session) -> None:
        with session.transaction() as tx:
            tx.outbox.add([row(1)])
        session.close()
        store.migrate()
        with session.transaction() as tx:
            assert tx.outbox.size() == 1

    def test_many_rows_are_written_at_once(self, tx: Transaction) -> None:
        tx.outbox.add([row(number) for number in range(7000)])
        assert [found.payload for found in tx.outbox.head(7000)] == [b"%d" % number for number in range(7000)]

    def test_text_with_percent_and_colons_is_kept(self, tx: Transaction) -> None:
        tx.events.append([Append("order-:a%s", 0, [NewEvent("E", '{"a": ":b %s %% ::text"}')], "100%", 1)], 1)
        assert tx.events.read("order-:a%s")[0].data == '{"a": ":b %s %% ::text"}'
        assert tx.events.load(["order-:a%s"])["order-:a%s"].state == "100%"

    # events

    def test_a_stream_nobody_appended_to_does_not_exist(self, tx: Transaction) -> None:
        assert tx.events.load(["order-1"]).get("order-1", NO_STREAM).version == 0

    def test_appended_events_are_read_in_order_with_their_versions(self, tx: Transaction) -> None:
        tx.events.append([append("order-1", 0, "Placed", "Paid")], 7)
        tx.events.append([append("order-1", 2, "Shipped")], 8)
        assert [(e.version, e.type, e.data, e.recorded_at) for e in tx.events.read("order-1")] == [
            (1, "Placed", '{"n": "Placed"}', 7), (2, "Paid", '{"n": "Paid"}', 7), (3, "Shipped", '{"n": "Shipped"}', 8),
        ]  # fmt: skip
        assert [e.type for e in tx.events.read("order-1", after_version=2)] == ["Shipped"]

    def test_the_snapshot_is_that_of_the_last_append(self, tx: Transaction) -> None:
        tx.events.append([append("order-1", 0, "Placed", state="first")], 1)
        tx.events.append([Append("order-1", 1, [NewEvent("Paid", "{}")], "second", 4)], 1)
        assert tx.events.load(["order-1"]) == {"order-1": StoredStream(2, "second", 4)}

    @pytest.mark.parametrize("expected", [0, 1, 3])
    def test_another_expected_version_than_the_streams_own_is_a_conflict(self, session: Session, expected: int) -> None:
        with session.transaction() as tx:
            tx.events.append([append("order-1", 0, "Placed", "Paid")], 1)
        with pytest.raises(VersionConflict), session.transaction() as tx:
            tx.events.append([append("order-1", expected, "Shipped")], 1)
        with session.transaction() as tx:
            assert [e.type for e in tx.events.read("order-1")] == ["Placed", "Paid"]

    def test_expecting_a_stream_that_does_not_exist_is_a_conflict(self, session: Session) -> None:
        with pytest.raises(VersionConflict), session.transaction() as tx:
            tx.events.append([append("order-1", 2, "Shipped")], 1)

    def test_one_conflict_undoes_the_appends_to_every_stream(self, session: Session) -> None:
        with session.transaction() as tx:
            tx.events.append([append("order-2", 0, "Placed")], 1)
        with pytest.raises(VersionConflict), session.transaction() as tx:
            tx.events.append([append("order-1", 0, "Placed"), append("order-2", 0, "Placed")], 1)
        with session.transaction() as tx:
            assert set(tx.events.load(["order-1", "order-2"])) == {"order-2"}

    def test_all_events_are_read_once_by_going_on_behind_the_cursor(self, session: Session) -> None:
        for number in range(5):
            with session.transaction() as tx:
                tx.events.append([append(f"order-{number}", 0, "Placed", "Paid")], 1)
        seen: list[tuple[str, int]] = []
        cursor = (0, 0)
        with session.transaction() as tx:
            while page := tx.events.read_all(cursor, limit=3):
                seen += [(e.stream, e.version) for e in page]
                cursor = page[-1].cursor
        assert seen == [(f"order-{number}", version) for number in range(5) for version in (1, 2)]

    def test_events_of_a_transaction_that_commits_late_are_not_skipped(self, store: Store, session: Session) -> None:
        if not self.concurrent_writers:
            with session.transaction() as tx:
                tx.events.append([append("order-1", 0, "Placed")], 1)
                assert [e.stream for e in tx.events.read_all()] == ["order-1"]
            return
        late, reader = store.session(), store.session()
        with late.transaction() as first:
            first.events.append([append("order-late", 0, "Placed")], 1)
            with session.transaction() as tx:
                tx.events.append([append("order-early", 0, "Placed")], 1)
            with reader.transaction() as tx:
                before = tx.events.read_all()
        with reader.transaction() as tx:
            after = tx.events.read_all(before[-1].cursor if before else (0, 0))
        assert sorted(e.stream for e in [*before, *after]) == ["order-early", "order-late"]
        late.close()
        reader.close()

    def test_two_writers_of_one_stream_append_one_behind_the_other(self, store: Store) -> None:
        failures: list[BaseException] = []

        def write() -> None:
            session = store.session()
            try:
                for _ in range(10):
                    while True:
                        try:
                            with session.transaction() as tx:
                                stored = tx.events.load(["order-1"]).get("order-1", NO_STREAM)
                                tx.events.append([append("order-1", stored.version, "Counted")], 1)
                            break
                        except VersionConflict:
                            continue
            except BaseException as error:  # noqa: BLE001 - told by the assertion below
                failures.append(error)
            finally:
                session.close()

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE_SECONDS)
        session = store.session()
        with session.transaction() as tx:
            versions = [e.version for e in tx.events.read("order-1")]
        session.close()
        assert failures == []
        assert versions == list(range(1, 31))

    # the relay's lease

    def test_one_relay_at_a_time_holds_the_lease(self, store: Store) -> None:
        lease = store.try_lease()
        assert lease is not None
        assert store.try_lease() is None
        with lease.session.transaction() as tx:
            tx.outbox.add([row(1)])
        lease.release()
        again = store.try_lease()
        assert again is not None
        assert again.predecessor_left_cleanly
        with again.session.transaction() as tx:
            assert tx.outbox.size() == 1
        again.release()

    def test_a_lease_given_up_with_messages_under_way_can_be_taken_again(self, store: Store) -> None:
        lease = store.try_lease()
        assert lease is not None
        lease.abandon()
        again = store.try_lease()
        assert again is not None
        if self.concurrent_writers:
            assert not again.predecessor_left_cleanly
        again.release()
