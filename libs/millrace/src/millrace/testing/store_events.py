"""The part of the stores' conformance suite that is about events: appending, conflicts, and reading all of them in order.

Part of `StoreConformance`; not to be subclassed by itself.
"""

import threading

import pytest

from millrace.errors import VersionConflict
from millrace.eventstore.events import NO_STREAM, Append, NewEvent, StoredStream
from millrace.store.contract import Session, Store, Transaction
from millrace.testing.store_queues import row

_PATIENCE_SECONDS = 20.0


def append(stream: str, expected: int, *names: str, state: str = "{}") -> Append:
    """Return an append of events of these types."""
    return Append(stream, expected, [NewEvent(name, f'{{"n": "{name}"}}') for name in names], state, 1)


class Following:
    """Reads all events of a store one by one, going on behind the last."""

    def __init__(self, store: Store) -> None:
        self._session = store.session()
        self._cursor = (0, 0)
        self.seen: list[tuple[str, int]] = []

    def read(self) -> None:
        """Read what can be read now."""
        with self._session.transaction() as tx:
            while page := tx.events.read_all(self._cursor, limit=1):
                self.seen += [(event.stream, event.version) for event in page]
                self._cursor = page[-1].cursor

    def versions(self, stream: str) -> list[int]:
        """Return the versions of a stream in the order they were read."""
        return [version for name, version in self.seen if name == stream]

    def close(self) -> None:
        """Give the session back."""
        self._session.close()


class EventConformance:
    """Every promise of a `Transaction`'s events. Takes the fixtures `store`, `session` and `tx`."""

    concurrent_writers = False

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

    def test_an_event_keeps_the_revision_it_was_stored_in(self, tx: Transaction) -> None:
        events = [NewEvent("Placed", "{}"), NewEvent("Placed", "{}", revision=3)]
        tx.events.append([Append("order-1", 0, events, "{}", 1)], 7)
        assert [event.revision for event in tx.events.read("order-1")] == [1, 3]
        tx.sql.execute(
            "INSERT INTO event (stream, version, type, data, recorded_at) VALUES ('order-1', 3, 'Placed', '{}', 7)"
        )  # as a program does that knows of no revisions
        assert tx.events.read("order-1")[2].revision == 1

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

    def test_a_stream_that_was_loaded_is_its_writers_alone(self, store: Store, session: Session) -> None:
        with session.transaction() as tx:
            tx.events.append([append("order-1", 0, "Placed")], 1)
        other = store.session()

        def write() -> None:
            with other.transaction() as tx:
                version = tx.events.load(["order-1"])["order-1"].version
                tx.events.append([append("order-1", version, "Shipped")], 1)

        writer = threading.Thread(target=write)
        with session.transaction() as tx:
            version = tx.events.load(["order-1"])["order-1"].version
            writer.start()
            writer.join(0.3)
            tx.events.append([append("order-1", version, "Paid")], 1)
        writer.join(_PATIENCE_SECONDS)
        other.close()
        with session.transaction() as tx:
            assert [e.type for e in tx.events.read("order-1")] == ["Placed", "Paid", "Shipped"]

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

    # all events in order

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
        following = Following(store)
        if self.concurrent_writers:
            late = store.session()
            with late.transaction() as first:
                first.events.append([append("order-late", 0, "Placed")], 1)
                with session.transaction() as tx:
                    tx.events.append([append("order-early", 0, "Placed")], 1)
                following.read()
            late.close()
        else:
            for name in ("order-late", "order-early"):
                with session.transaction() as tx:
                    tx.events.append([append(name, 0, "Placed")], 1)
                following.read()
        following.read()
        following.close()
        assert sorted(following.seen) == [("order-early", 1), ("order-late", 1)]

    def test_a_stream_is_read_in_order_though_the_transaction_begun_first_appends_last(
        self, store: Store, session: Session
    ) -> None:
        following = Following(store)
        if self.concurrent_writers:
            elder = store.session()
            with elder.transaction() as early:
                early.outbox.add([row(1)])
                with session.transaction() as tx:
                    tx.events.append([append("order-1", 0, "Placed"), append("order-2", 0, "Placed")], 1)
                following.read()
                early.events.append([append("order-1", 1, "Paid", "Packed")], 1)
                following.read()
            elder.close()
        else:
            for appends in (
                [append("order-1", 0, "Placed"), append("order-2", 0, "Placed")],
                [append("order-1", 1, "Paid", "Packed")],
            ):
                with session.transaction() as tx:
                    tx.events.append(appends, 1)
        for again in (append("order-1", 3, "Shipped"), append("order-3", 0, "Placed"), append("order-2", 1, "Paid")):
            with session.transaction() as tx:
                tx.events.append([again], 1)
            following.read()
        following.close()
        assert following.versions("order-1") == [1, 2, 3, 4]
        assert following.versions("order-2") == [1, 2]
