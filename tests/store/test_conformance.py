"""Memory, an SQLite file and PostgreSQL keep the promises of every store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from millrace.store.contract import Store
from millrace.store.open import open_store
from millrace.testing.stores import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store("memory://")
        store.migrate()
        yield store
        store.close()


class TestSqlite(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = open_store(f"sqlite:///{tmp_path}/store.db")
        store.migrate()
        yield store
        store.close()

    def test_a_file_keeps_what_was_committed(self, tmp_path: Path, store: Store) -> None:
        session = store.session()
        with session.transaction() as tx:
            tx.message_ids.remember("group", [("id", 1)])()
        session.close()
        store.close()
        again = open_store(f"sqlite:///{tmp_path}/store.db").session()
        with again.transaction() as tx:
            assert tx.message_ids.remember("group", [("id", 1)])() == set()
        again.close()


class TestPostgres(StoreConformance):
    concurrent_writers = True

    @pytest.fixture
    def store(self, postgres_url: Callable[[], str]) -> Iterator[Store]:
        store = open_store(postgres_url())
        store.migrate()
        yield store
        store.close()

    def test_a_lease_lost_with_its_connection_sends_nothing_more(self, store: Store) -> None:
        lease = store.try_lease()
        assert lease is not None
        session = store.session()
        with session.transaction() as tx:
            tx.sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError), lease.session.transaction() as tx:
                tx.outbox.size()
        lease.abandon()
        session.close()


def test_an_address_of_another_kind_is_refused() -> None:
    for url in ("mysql://host/db", "sqlite://", "store.db", "memory://x"):
        with pytest.raises(ValueError, match="store address"):
            open_store(url)
