"""The catalogue at the edge, cached: every order asks for it, and it changes rarely."""

from collections.abc import Mapping, Sequence

from millrace.cache import Cache
from millrace.errors import Unavailable
from millrace.pipeline.queries import Queries
from millrace.store.sql import Sql
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.order import Money

CatalogueCache = Cache[str, CatalogueItem]


class StoredCatalogue:
    """Reads `catalogue_view`. An item is remembered until the cache is told of a change, or its time is over; a missing one is not."""

    def __init__(self, queries: Queries, cache: CatalogueCache) -> None:
        self._queries = queries
        self._cache = cache

    async def find(self, item_ids: Sequence[str]) -> Mapping[str, CatalogueItem]:
        """See `Catalogue`."""
        wanted = set(item_ids)
        found = {item_id: item for item_id in wanted if (item := self._cache.get(item_id)) is not None}
        missing = sorted(wanted - found.keys())
        if missing:
            read = await self._queries.run(lambda sql: _read(sql, missing))
            for item_id, item in read.items():
                self._cache.put(item_id, item, item.sequence)
            found |= read
        return found


async def is_known(queries: Queries) -> bool:
    """Tell whether any item is known. Raises Unavailable when the database is away."""
    return await queries.run(_any)


def _any(sql: Sql) -> bool:
    return bool(sql.execute("SELECT 1 FROM catalogue_view LIMIT 1"))


def _read(sql: Sql, item_ids: Sequence[str]) -> dict[str, CatalogueItem]:
    """Return the items there are. Raises Unavailable while none is known: a service just started has not heard of them yet."""
    found = sql.each(
        "SELECT c.item_id, c.name, c.currency, c.price_minor, c.active, c.sequence FROM catalogue_view c "
        "JOIN rows ON rows.item_id = c.item_id",
        {"item_id": "text"},
        [(item_id,) for item_id in item_ids],
    )
    if not found and not _any(sql):
        raise Unavailable("the catalogue has not been read yet")
    return {row[0]: CatalogueItem(row[0], row[1], Money(row[2], row[3]), bool(row[4]), row[5]) for row in found}
