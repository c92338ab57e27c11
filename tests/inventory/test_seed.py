"""An empty store gets the catalogue of the settings, once."""

import json

import pytest

from inventory_service.application.set_item import SeedCatalogue, SeedItem
from inventory_service.bootstrap import parts
from inventory_service.config import DEMO_ITEMS, read_config
from millrace.settings import load
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shopkit.testing.bench import Bench

SEED = (SeedItem("mug", "Mug", "EUR", 899, 10),)


def test_each_seeded_item_is_told_and_a_second_start_tells_nothing(store_url: str) -> None:
    with Bench(parts(SEED), store_url) as bench:
        bench.prepare()
        told = [message.body(ItemChangedEvent) for message in bench.sent()]
        assert [(item.item_id, item.sequence, item.price.minor_units, item.active) for item in told] == [("mug", 1, 899, True)]
        bench.prepare()
        assert bench.sent() == []


def test_two_instances_that_seed_at_once_seed_once(store_url: str) -> None:
    with Bench(parts(SEED), store_url) as bench:
        bench.order("catalogue", SeedCatalogue(SEED))
        bench.order("catalogue", SeedCatalogue(SEED))
        assert len(bench.sent()) == 1
        assert bench.rows("SELECT on_hand FROM item") == [(10,)]


def _settings(monkeypatch: pytest.MonkeyPatch, seed: str | None) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "localhost:9092")
    monkeypatch.setenv("MILLRACE_STORE_URL", "sqlite:////tmp/unused.db")
    if seed is not None:
        monkeypatch.setenv("INVENTORY_SEED", seed)


def test_the_demo_items_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(monkeypatch, None)
    items = load(read_config).seed
    assert [item.item_id for item in items] == [item["item_id"] for item in json.loads(DEMO_ITEMS)]


@pytest.mark.parametrize(
    "seed",
    ["{", "[1]", '[{"item_id": "", "name": "x", "currency": "e", "price_minor": -1, "on_hand": -1}]', '[{"item_id": "x"}]'],
)
def test_a_seed_that_does_not_fit_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seed: str
) -> None:
    _settings(monkeypatch, seed)
    with pytest.raises(SystemExit, match="2"):
        load(read_config)
    assert "INVENTORY_SEED: does not fit" in capsys.readouterr().err
