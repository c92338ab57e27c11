"""Joins inventory's parts."""

from collections.abc import Sequence
from pathlib import Path

from inventory_service.adapters.read_model import ReadModel
from inventory_service.adapters.reads import SqlReads
from inventory_service.application.reserve_stock import ReserveStock
from inventory_service.application.set_item import (
    SeedCatalogue,
    SeedCatalogueHandler,
    SeedItem,
    SetItem,
    SetItemHandler,
    SetStock,
    SetStockHandler,
)
from inventory_service.application.settle_stock import ReleaseStock, ShipStock
from inventory_service.domain.item import ITEM
from inventory_service.domain.reservation import RESERVATION
from inventory_service.edge.servicer import InventoryServicer
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers
from millrace.edge.server import RpcService
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from shop.inventory.v1.inventory_messages_pb2 import ReleaseStockCommand, ReserveStockCommand, ShipStockCommand
from shop.inventory.v1.inventory_service_pb2_grpc import add_InventoryServiceServicer_to_server
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

RPC_NAME = "shop.inventory.v1.InventoryService"

_STREAM_TYPES = (ITEM, RESERVATION)
_READ_MODELS = (ReadModel(),)


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes the read models anew with."""
    return Rebuildable(group_of("inventory").id, Handlers(_STREAM_TYPES), _READ_MODELS)


def parts(seed: Sequence[SeedItem]) -> Parts:
    """Return what is inventory's own; `seed` is the catalogue of an empty store."""

    def rpc(commands: Commands, queries: Queries) -> Sequence[RpcService]:
        servicer = InventoryServicer(commands, SqlReads(queries))
        return [RpcService(RPC_NAME, lambda server: add_InventoryServiceServicer_to_server(servicer, server))]

    async def prepare(commands: Commands, queries: Queries) -> None:
        if seed and await SqlReads(queries).is_empty():
            await commands.decide("catalogue", SeedCatalogue(tuple(seed)))

    return Parts(
        name="inventory",
        stream_types=_STREAM_TYPES,
        handlers={
            ReserveStockCommand: ReserveStock(),
            ReleaseStockCommand: ReleaseStock(),
            ShipStockCommand: ShipStock(),
            SetItem: SetItemHandler(),
            SetStock: SetStockHandler(),
            SeedCatalogue: SeedCatalogueHandler(),
        },
        registry=TypeRegistry([ReserveStockCommand, ReleaseStockCommand, ShipStockCommand]),
        rpc=rpc,
        projections=_READ_MODELS,
        migrations=Path(__file__).parent / "migrations",
        prepare=prepare,
    )
