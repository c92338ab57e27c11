"""The books of a simulated part: one entry a key, whoever writes it and however often, on both databases."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.errors import Unavailable
from millrace.store.open import open_store
from millrace.testing.clock import SkippingClock
from shopkit.ledger import Entry, Ledger

TABLE = """
CREATE TABLE external_ledger (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, order_id TEXT NOT NULL, customer_id TEXT NOT NULL, currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, reference TEXT NOT NULL, made_at BIGINT NOT NULL
);
"""
FIRST = Entry("key-1", "charge", "order", "done", "customer", "EUR", 2499, "", "ch_1")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    made: str = request.getfixturevalue("postgres_url")()
    return made


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Callable[[], Ledger]:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001.books.sql").write_text(TABLE)

    def open_ledger() -> Ledger:
        store = open_store(url)
        store.migrate(folder)
        return Ledger(store, SkippingClock(datetime(2026, 1, 1, tzinfo=UTC)))

    return open_ledger


def test_the_first_entry_under_a_key_stands(opened: Callable[[], Ledger]) -> None:
    ledger = opened()

    async def scenario() -> None:
        assert await ledger.find("key-1") is None
        assert await ledger.record(FIRST) == FIRST
        assert await ledger.record(replace(FIRST, outcome="refused")) == FIRST
        assert await ledger.find("key-1") == FIRST

    asyncio.run(scenario())
    ledger.close()


def test_what_is_recorded_is_there_after_the_books_are_opened_again(opened: Callable[[], Ledger]) -> None:
    ledger = opened()
    asyncio.run(ledger.record(FIRST))
    ledger.close()
    again = opened()
    assert asyncio.run(again.find("key-1")) == FIRST
    again.close()


def test_two_writers_of_the_same_keys_agree(opened: Callable[[], Ledger]) -> None:
    ledgers = opened(), opened()
    keys = [f"key-{number}" for number in range(100)]

    async def scenario() -> tuple[list[Entry], list[Entry]]:
        async def write(ledger: Ledger, reference: str, order: list[str]) -> list[Entry]:
            return list(await asyncio.gather(*(ledger.record(replace(FIRST, key=key, reference=reference)) for key in order)))

        one, other = await asyncio.gather(write(ledgers[0], "one", keys), write(ledgers[1], "other", keys[::-1]))
        return one, other[::-1]

    one, other = asyncio.run(scenario())
    assert one == other
    for ledger in ledgers:
        ledger.close()


def test_books_that_cannot_be_reached_are_unavailable_and_come_back(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/books.db")
    ledger = Ledger(store, SkippingClock(datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(Unavailable):
        asyncio.run(ledger.record(FIRST))
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001.books.sql").write_text(TABLE)
    store.migrate(folder)
    assert asyncio.run(ledger.record(FIRST)) == FIRST
    ledger.close()
