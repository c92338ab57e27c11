"""The conformance suite of stores: what every database must promise before the pipeline may be run on it.

Subclass `StoreConformance` in a test file and give it a fixture `store`, a migrated, empty `Store`. Two sessions of a store whose
transactions exclude one another take turns; where writers work side by side, `concurrent_writers` is true and more is checked.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from millrace.eventstore.events import Append, NewEvent
from millrace.inbox.positions import PartitionId, Position
from millrace.store.contract import Session, Store, Transaction
from millrace.store.faults import Fault, classify
from millrace.testing.store_events import EventConformance, append
from millrace.testing.store_queues import QueueConformance, effect, parked, row, timer

GROUP = "group"


class Undone(Exception):
    """Raised by a test to have its transaction rolled back."""


class StoreConformance(EventConformance, QueueConformance):
    """Every promise of `Store`, `Session` and the parts of a `Transaction`."""

    @pytest.fixture
    def session(self, store: Store) -> Iterator[Session]:
        session = store.session()
        yield session
        session.close()

    @pytest.fixture
    def tx(self, session: Session) -> Iterator[Transaction]:
        with session.transaction() as tx:
            yield tx

    # statements

    def test_rows_come_back_from_a_write_that_asks_for_them_however_it_is_spelt(self, tx: Transaction) -> None:
        tx.sql.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
        for words, number in (
            ("INSERT INTO written SELECT n FROM rows RETURNING n", 1),
            ("insert into written select n from rows returning n", 2),
        ):
            assert tx.sql.each(words, {"n": "bigint"}, [(number,)]) == [(number,)]
        assert tx.sql.each("INSERT INTO written SELECT n FROM rows", {"n": "bigint"}, [(3,)]) == []
        assert tx.sql.execute("SELECT n FROM written ORDER BY n") == [(1,), (2,), (3,)]

    def test_statements_asked_together_run_in_order_and_each_has_its_rows(self, tx: Transaction) -> None:
        tx.sql.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
        write, read = "INSERT INTO written SELECT n FROM rows RETURNING n", "SELECT written.n FROM written, rows ORDER BY 1"
        first = tx.sql.asked(write, {"n": "bigint"}, [(1,)])
        between = tx.sql.asked(read, {"n": "bigint"}, [(0,)])
        last = tx.sql.asked(write, {"n": "bigint"}, [(2,)])
        assert tx.sql.asked(write, {"n": "bigint"}, [])() == []
        assert (last(), between(), first()) == ([(2,)], [(1,)], [(1,)])

    def test_settling_raises_what_an_earlier_statement_failed_with(self, session: Session) -> None:
        with suppress(Undone), session.transaction() as tx:
            tx.sql.execute("CREATE TABLE written (n bigint PRIMARY KEY)")
            with pytest.raises(Exception) as refused:  # noqa: PT012 - whichever error the database has for it
                tx.sql.each("INSERT INTO written SELECT n FROM rows", {"n": "bigint"}, [(1,), (1,)])
                tx.sql.settle()
            assert classify(refused.value) is Fault.DATA
            raise Undone

    # transactions

    def test_a_transaction_that_raises_leaves_nothing_behind(self, session: Session) -> None:
        with suppress(Undone), session.transaction() as tx:
            tx.events.append([append("order-1", 0, "Placed")], 1)
            tx.outbox.add([row(1)])
            tx.message_ids.remember(GROUP, [("id", 1)])()
            tx.parked.park(GROUP, [parked("key", b"1")])
            tx.timers.start(GROUP, [timer("t")])
            tx.effects.add(GROUP, [effect("e")], 0)
            tx.positions.claim(GROUP, [PartitionId("topic", "id", 0)])
            raise Undone
        with session.transaction() as tx:
            assert tx.events.load(["order-1"]) == {}
            assert tx.events.read("order-1") == []
            assert tx.outbox.size() == 0
            assert tx.message_ids.remember(GROUP, [("id", 1)])() == {"id"}
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
