"""The inventory service on a bench, on both kinds of store."""

from collections.abc import Iterator

import pytest

from inventory_service.application.set_item import SeedItem
from inventory_service.bootstrap import parts
from shopkit.testing.bench import Bench

SEED = (SeedItem("mug", "Mug", "EUR", 899, 10), SeedItem("rare-vase", "Rare vase", "EUR", 19999, 2))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def store_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "memory://"
    return str(request.getfixturevalue("postgres_url")())


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    with Bench(parts(SEED), store_url) as bench:
        bench.prepare()
        bench.sent()
        yield bench
