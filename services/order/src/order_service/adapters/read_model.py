"""The read side: tables written with each batch, and what reads them."""

from collections.abc import Sequence

import msgspec

from millrace.cache import Cache
from millrace.clock import micros
from millrace.errors import NotFound
from millrace.eventstore.events import EventStore, StoredStream
from millrace.pipeline.codec import StreamCodec, to_json
from millrace.pipeline.queries import Queries
from millrace.pipeline.staging import Change
from millrace.saga import SagaState
from millrace.store.sql import Sql
from order_service.application.ports import OrderFilter
from order_service.application.process import order_streams
from order_service.application.saga import SAGAS
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.order import Order

_ORDER = msgspec.json.Decoder(Order)
_SAGA_CODEC = StreamCodec([SAGAS])


class OrderViews:
    """Keeps `order_view` and `catalogue_view`."""

    tables = ("order_view", "catalogue_view")

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """See `Projection`. Each order and item is written once a batch, as its last change left it."""
        orders = {change.stream: change.state for change in changes if isinstance(change.state, Order)}
        items = {change.stream: change.state for change in changes if isinstance(change.state, CatalogueItem)}
        sql.each(
            "INSERT INTO order_view (order_id, customer_id, status, created_at, document) "
            "SELECT order_id, customer_id, status, created_at, document FROM rows WHERE true "
            "ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, document = excluded.document",
            {"order_id": "text", "customer_id": "text", "status": "text", "created_at": "bigint", "document": "text"},
            [
                (o.order_id, o.customer_id, o.status.value, micros(o.created_at), to_json(o))
                for o in orders.values()
                if o.created_at
            ],
        )
        sql.each(
            "INSERT INTO catalogue_view (item_id, name, currency, price_minor, active, sequence) "
            "SELECT item_id, name, currency, price_minor, active, sequence FROM rows WHERE true ON CONFLICT (item_id) DO UPDATE SET "
            "name = excluded.name, currency = excluded.currency, price_minor = excluded.price_minor, active = excluded.active, "
            "sequence = excluded.sequence",
            {
                "item_id": "text",
                "name": "text",
                "currency": "text",
                "price_minor": "bigint",
                "active": "bigint",
                "sequence": "bigint",
            },
            [(i.item_id, i.name, i.price.currency, i.price.minor_units, int(i.active), i.sequence) for i in items.values()],
        )


OrderCache = Cache[str, Order]


class StoredOrders:
    """Reads orders from `order_view`, and sagas from the snapshots of their streams. Final orders, which never change, are remembered."""

    def __init__(self, queries: Queries, cache: OrderCache) -> None:
        self._queries = queries
        self._cache = cache

    async def order(self, order_id: str) -> Order:
        """See `OrderReader`."""
        if (known := self._cache.get(order_id)) is not None:
            return known
        order, _ = await self.get(order_id)
        if order.status.final:
            self._cache.put(order_id, order, order.sequence)
        return order

    async def get(self, order_id: str) -> tuple[Order, SagaState]:
        """See `OrderReader`."""
        saga_stream = order_streams(order_id)[1]

        def read(sql: Sql) -> tuple[Order, SagaState]:
            found = sql.execute(
                "SELECT o.document, s.version, s.state, s.snapshot_version FROM order_view o JOIN stream s ON s.id = :saga "
                "WHERE o.order_id = :id",
                {"id": order_id, "saga": saga_stream},
            )
            if not found:
                raise NotFound(f"there is no order {order_id}")
            document, *saga = found[0]
            return _ORDER.decode(document), _SAGA_CODEC.state(saga_stream, StoredStream(*saga), EventStore(sql))

        return await self._queries.run(read)

    async def list(self, wanted: OrderFilter) -> Sequence[Order]:
        """See `OrderReader`."""
        conditions = ["true"]
        parameters: dict[str, object] = {"limit": wanted.limit}
        if wanted.customer_id:
            conditions.append("customer_id = :customer")
            parameters["customer"] = wanted.customer_id
        if wanted.status is not None:
            conditions.append("status = :status")
            parameters["status"] = wanted.status.value
        if wanted.before is not None:
            conditions.append("(created_at, order_id) < (:before, :id)")
            parameters |= {"before": wanted.before[0], "id": wanted.before[1]}
        query = f"SELECT document FROM order_view WHERE {' AND '.join(conditions)} ORDER BY created_at DESC, order_id DESC LIMIT :limit"
        return await self._queries.run(lambda sql: [_ORDER.decode(row[0]) for row in sql.execute(query, parameters)])
