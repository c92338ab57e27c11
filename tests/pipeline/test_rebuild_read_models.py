"""Read models rebuilt from the events equal what a replay gives, also while others write; readers see the old rows or the new."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
import pytest

from millrace.eventstore.events import Append, NewEvent
from millrace.pipeline.engine import Batch
from millrace.pipeline.staging import Change
from millrace.rebuild.read_models import rebuild_read_models
from millrace.rebuild.shadow import Shadow
from millrace.store.sql import Sql
from millrace.testing.waiting import eventually


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()


def rebuild(world: Any, **options: Any) -> int:
    return rebuild_read_models(world.store, [world.ACCOUNTS], world.engine.projections, **options)


def damage(world: Any) -> None:
    """Lose one row of the read model, and falsify all others."""
    with world.session.transaction() as tx:
        tx.sql.execute("DELETE FROM model WHERE note = (SELECT min(note) FROM model)")
        tx.sql.execute("UPDATE model SET stream = 'nobody', doubled = 0")


def shown(world: Any) -> list[tuple[Any, ...]]:
    with world.session.transaction() as tx:
        return sorted(tx.sql.execute("SELECT stream, note, doubled FROM model"))


def test_a_read_model_rebuilt_equals_what_was_there(world: Any) -> None:
    world.process(*world.records(*(world.message(f"a{n % 5}", n) for n in range(30))))
    before = shown(world)
    damage(world)
    assert rebuild(world, page=7) == 30
    assert shown(world) == before


def test_a_service_goes_on_with_the_rebuilt_tables_and_their_keys(world: Any) -> None:
    first = world.message("a", 1)
    world.process(world.record(first))
    rebuild(world)
    world.process(world.record(world.message("a", 2)))
    assert len(shown(world)) == 2
    with pytest.raises(Exception, match=r"(?i)unique"), world.session.transaction() as tx:
        tx.sql.execute(f"INSERT INTO model (stream, note, doubled) VALUES ('x', '{first.id}', 0)")


def test_a_projection_that_fails_leaves_the_tables_as_they_were(world: Any) -> None:
    world.process(world.record(world.message("a", 1)))
    before = shown(world)
    with world.session.transaction() as tx:
        tx.events.append([Append("account-b", 0, [NewEvent("Charged", '{"amount": 1313, "note": "x"}')], "{}", 1)], 1)
    with pytest.raises(KeyError, match="unshowable"):
        rebuild(world)
    assert shown(world) == before


def test_a_rebuild_amid_live_writes_equals_a_replay(world: Any) -> None:
    """Writers go on from before the first rebuild until after the last; nothing they wrote is lost or doubled."""
    done = threading.Event()
    written: list[int] = []
    failures: list[Exception] = []

    def write(name: str) -> None:
        session = world.store.session()
        try:
            while not done.is_set():
                messages = [world.message(f"{name}{n % 3}", 1) for n in range(5)]
                records = [world.engine.decoder.decode(record) for record in world.records(*messages)]
                world.engine.process(session, Batch(records))
                written.append(len(records))
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)
        finally:
            session.close()

    def has_grown(beyond: int) -> bool:
        return len(written) > beyond or bool(failures)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            eventually(partial(has_grown, len(written) + 3), 30)
            damage(world)
            rebuild(world, page=20)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert failures == []
    live = shown(world)
    assert len(live) == sum(written)
    assert {row[2] for row in live} == {2}
    rebuild(world)
    assert shown(world) == live


class Totals:
    """One row an account, written over with each change, as most read models are."""

    tables = ("total",)

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        last = {change.stream: change.state.total for change in changes}
        sql.each(
            "INSERT INTO total (stream, amount) SELECT stream, amount FROM rows WHERE true "
            "ON CONFLICT (stream) DO UPDATE SET amount = excluded.amount",
            {"stream": "text", "amount": "bigint"},
            sorted(last.items()),
        )


@pytest.fixture
def totals(new_world: Callable[[str], Any], postgres_url: Callable[[], str]) -> Any:
    """Give a world on PostgreSQL that shows totals."""
    world = new_world(postgres_url())
    with world.session.transaction() as tx:
        tx.sql.execute("CREATE TABLE total (stream text PRIMARY KEY, amount bigint NOT NULL)")
    world.engine = world.new_engine(projections=[Totals()])
    return world


def amounts(world: Any) -> dict[str, int]:
    with world.session.transaction() as tx:
        return dict(tx.sql.execute("SELECT stream, amount FROM total"))


def test_an_append_under_way_at_the_swap_is_waited_for_and_readers_are_served(totals: Any) -> None:
    totals.process(totals.record(totals.message("a", 1)))
    late = totals.store.session()
    failures: list[Exception] = []

    def run() -> None:
        try:
            rebuild(totals)
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    thread = threading.Thread(target=run)
    with psycopg.connect(totals.url, autocommit=True) as asking, late.transaction() as tx:
        tx.events.append([Append("account-a", 1, [NewEvent("Charged", '{"amount": 5, "note": "late"}')], "{}", 1)], 1)
        tx.sql.execute("UPDATE total SET amount = 6 WHERE stream = 'account-a'")
        tx.sql.settle()
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        eventually(lambda: failures or asking.execute(waiting).fetchone() == (1,), 60)
        assert amounts(totals) == {"account-a": 1}
    late.close()
    thread.join(60)
    assert failures == []
    assert amounts(totals) == {"account-a": 6}


def test_events_behind_somebody_elses_open_transaction_are_shown_too(totals: Any) -> None:
    other = totals.store.session()
    with other.transaction() as tx:
        tx.sql.execute("SELECT pg_current_xact_id()")
        totals.process(totals.record(totals.message("a", 4)))
        assert rebuild(totals) == 1
    other.close()
    assert amounts(totals) == {"account-a": 4}


def test_a_shadow_whose_connection_broke_never_writes_to_the_tables(
    new_world: Callable[[str], Any], postgres_url: Callable[[], str]
) -> None:
    world = new_world(postgres_url())
    world.process(world.record(world.message("a", 1)))
    before = shown(world)
    shadow = Shadow(world.store.session(), ["model"])
    with shadow.transaction() as tx:
        assert tx.sql.execute("SELECT count(*) FROM model") == [(0,)]
        pid = tx.sql.execute("SELECT pg_backend_pid()")[0][0]
    with psycopg.connect(world.url, autocommit=True) as killing:
        killing.execute("SELECT pg_terminate_backend(%s)", [pid])
    for _ in range(2):
        with pytest.raises(psycopg.Error), shadow.transaction() as tx:
            tx.sql.execute("DELETE FROM model")
    shadow.close()
    assert shown(world) == before
