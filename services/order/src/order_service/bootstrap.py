"""Joins the order service's parts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import grpc

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handler, Handlers, TimerFired
from millrace.edge.server import RpcService
from millrace.pipeline.hearing import Hearing
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from order_service.adapters.catalogue import CatalogueCache, StoredCatalogue, is_known
from order_service.adapters.read_model import OrderCache, OrderViews, StoredOrders
from order_service.application.cancel_order import CancelOrderHandler
from order_service.application.follow_catalogue import FollowCatalogue
from order_service.application.place_order import PlaceOrderHandler
from order_service.application.saga import LOCKS, SAGAS, order_saga
from order_service.application.take_reply import DeadlineHandler, ReplyHandler
from order_service.config import Config
from order_service.domain.catalogue import CATALOGUE
from order_service.domain.commands import CancelOrder, PlaceOrder
from order_service.domain.order import ORDERS
from order_service.edge.servicer import OrderServer
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.order.v1 import order_messages_pb2 as order
from shop.order.v1.order_service_pb2_grpc import add_OrderServiceServicer_to_server
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

_REPLY_TOPICS = ("payment.result", "inventory.result", "shipping.scheduled", "shipping.delayed", "shipping.failed")

_STREAM_TYPES = (ORDERS, SAGAS, LOCKS, CATALOGUE)
_READ_MODELS = (OrderViews(),)


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes the read models anew with."""
    return Rebuildable(group_of("order").id, Handlers(_STREAM_TYPES), _READ_MODELS)


def parts(config: Config) -> Parts:
    """Return what makes a service the order service."""
    saga = order_saga(config.timing, refuse_doubles=config.refuse_doubles)
    replies = ReplyHandler(saga)
    limits = config.cache
    catalogue = CatalogueCache("catalogue", most=limits.entries, keep_seconds=limits.seconds)
    orders = OrderCache("orders", most=limits.entries, keep_seconds=limits.seconds)
    handlers: dict[type, Handler] = {
        PlaceOrder: PlaceOrderHandler(saga),
        CancelOrder: CancelOrderHandler(saga),
        TimerFired: DeadlineHandler(saga),
        inventory.ItemChangedEvent: FollowCatalogue(),
        shipping.ShippingDeliveredEvent: replies,
        **dict.fromkeys(saga.replies(), replies),
    }
    return Parts(
        name="order",
        stream_types=_STREAM_TYPES,
        handlers=handlers,
        registry=TypeRegistry.from_modules(order, payment, inventory, shipping),
        rpc=partial(_rpc, catalogue, orders),
        projections=_READ_MODELS,
        migrations=Path(__file__).parent / "migrations",
        reply_topics=_REPLY_TOPICS,
        awaited={"catalogue": is_known},
        hearing=(Hearing([inventory.ItemChangedEvent], partial(_item_changed, catalogue), catalogue.clear),),
    )


def _item_changed(catalogue: CatalogueCache, event: inventory.ItemChangedEvent) -> None:
    catalogue.changed(event.item_id, event.sequence)


def _rpc(catalogue: CatalogueCache, orders: OrderCache, commands: Commands, queries: Queries) -> Sequence[RpcService]:
    server = OrderServer(commands, StoredOrders(queries, orders), StoredCatalogue(queries, catalogue))

    def add(to: grpc.aio.Server) -> None:
        add_OrderServiceServicer_to_server(server, to)

    return (RpcService("shop.order.v1.OrderService", add),)
