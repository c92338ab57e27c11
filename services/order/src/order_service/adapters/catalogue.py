"""The catalogue at the edge, remembered for a moment: every order asks for it, and it changes rarely."""

import time
from collections.abc import Mapping, Sequence

from millrace.errors import Unavailable
from millrace.pipeline.queries import Queries
from millrace.store.sql import Sql
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.order import Money


class StoredCatalogue:
    """Reads `catalogue_view`. An answer is at most `keep_seconds` old; at most `most` items are remembered."""

    def __init__(self, queries: Queries, *, keep_seconds: float = 1.0, most: int = 10_000) -> None:
        self._queries = queries
        self._keep_seconds = keep_seconds
        self._most = most
        self._known: dict[str, tuple[float, CatalogueItem]] = {}

    async def find(self, item_ids: Sequence[str]) -> Mapping[str, CatalogueItem]:
        """See `Catalogue`."""
        now = time.monotonic()
        wanted = set(item_ids)
        found = {i: known[1] for i in wanted if (known := self._known.get(i)) is not None and now - known[0] < self._keep_seconds}
        missing = sorted(wanted - found.keys())
        if missing:
            read = await self._queries.run(lambda sql: _read(sql, missing))
            if len(self._known) + len(read) > self._most:
                self._known.clear()
            self._known.update((item_id, (now, item)) for item_id, item in read.items())
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
