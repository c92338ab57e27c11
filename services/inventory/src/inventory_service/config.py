"""Inventory's settings, from the environment alone."""

from dataclasses import dataclass
from typing import Any

import msgspec

from inventory_service.application.set_item import SeedItem
from inventory_service.edge.validation import MOST_ON_HAND
from millrace.edge.validation import Violations
from millrace.errors import Invalid
from millrace.settings import Environment
from shopkit.service import CommonSettings

DEMO_ITEMS = """[
    {"item_id": "teapot", "name": "Teapot", "currency": "EUR", "price_minor": 2499, "on_hand": 100000},
    {"item_id": "kettle", "name": "Kettle", "currency": "EUR", "price_minor": 4999, "on_hand": 100000},
    {"item_id": "mug", "name": "Mug", "currency": "EUR", "price_minor": 899, "on_hand": 100000},
    {"item_id": "rare-vase", "name": "Rare vase", "currency": "EUR", "price_minor": 19999, "on_hand": 2},
    {"item_id": "anvil", "name": "Anvil", "currency": "EUR", "price_minor": 9999, "on_hand": 100000},
    {"item_id": "piano", "name": "Piano", "currency": "EUR", "price_minor": 99999, "on_hand": 100000}
]"""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything inventory is told. `seed` is the catalogue of an empty store."""

    common: CommonSettings
    seed: tuple[SeedItem, ...]


def read_config(environment: Environment) -> Config:
    """Read the settings all services share, and INVENTORY_SEED."""
    common = CommonSettings.read(environment, service="inventory", grpc_port=50053, metrics_port=9053)
    return Config(common, environment.json("INVENTORY_SEED", DEMO_ITEMS, _seed))


def _seed(value: Any) -> tuple[SeedItem, ...]:
    """Return the items of a seed. Raises ValueError for what is no catalogue."""
    items = msgspec.convert(value, tuple[SeedItem, ...])
    found = Violations()
    for number, item in enumerate(items):
        field = f"[{number}]"
        found.text(f"{field}.item_id", item.item_id)
        found.text(f"{field}.name", item.name)
        found.money(f"{field}.price", item.currency, item.price_minor)
        found.check(f"{field}.on_hand", 0 <= item.on_hand <= MOST_ON_HAND, f"must be from 0 to {MOST_ON_HAND}")
    found.check("item_id", len({item.item_id for item in items}) == len(items), "must be unique")
    try:
        found.raise_if_any()
    except Invalid as refused:
        raise ValueError(str(refused)) from refused
    return items
