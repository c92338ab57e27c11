"""Joins analytics' parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analytics_service.adapters.read_model import ReadModel
from analytics_service.adapters.reads import SqlReads
from analytics_service.application.record import ORDER_STATUSES, SHIPPING_STATUSES, RecordOrder, RecordShipping
from analytics_service.domain.timeline import TIMELINE
from analytics_service.edge.servicer import AnalyticsServicer
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handler, Handlers
from millrace.edge.server import RpcService
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from shop.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

RPC_NAME = "shop.analytics.v1.AnalyticsService"


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes analytics anew with: all it has follows from its topics, which are kept for good."""
    own, group = parts(), group_of("analytics")
    migrations = () if own.migrations is None else (own.migrations,)
    return Rebuildable(
        group.id, Handlers(own.stream_types, own.handlers), own.projections, own.registry, group.topics, migrations
    )


def parts() -> Parts:
    """Return what is analytics' own."""
    handlers: Mapping[type, Handler] = {
        **dict.fromkeys(ORDER_STATUSES, RecordOrder()),
        **dict.fromkeys(SHIPPING_STATUSES, RecordShipping()),
    }

    def rpc(_: Commands, queries: Queries) -> Sequence[RpcService]:
        servicer = AnalyticsServicer(SqlReads(queries))
        return [RpcService(RPC_NAME, lambda server: add_AnalyticsServiceServicer_to_server(servicer, server))]

    return Parts(
        name="analytics",
        stream_types=(TIMELINE,),
        handlers=handlers,
        registry=TypeRegistry([*ORDER_STATUSES, *SHIPPING_STATUSES]),
        rpc=rpc,
        projections=(ReadModel(),),
        pace_seconds=0.2,  # it follows what others did: nobody waits for it
        migrations=Path(__file__).parent / "migrations",
    )
