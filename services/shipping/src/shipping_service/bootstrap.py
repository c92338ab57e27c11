"""Puts the shipping service together."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry

from millrace.clock import utc_now
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers, TimerFired
from millrace.edge.server import RpcService
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from millrace.store.open import open_store
from shipping_service.adapters.shipments import ShipmentsProjection, ShipmentTable
from shipping_service.adapters.simulated_carrier import SimulatedCarrier
from shipping_service.application.call_carrier import CallCarrier
from shipping_service.application.cancel_shipment import CancelShipment
from shipping_service.application.deliver_parcel import DeliverParcel
from shipping_service.application.settle_booking import DeliveryTimes, SettleBooking, SettleRefusal, SettleWithdrawal
from shipping_service.application.ship_order import ShipOrder
from shipping_service.config import Config
from shipping_service.domain.booking import BookCarrier, BookingRefused, BookingWithdrawn, ParcelBooked, WithdrawBooking
from shipping_service.domain.shipment import SHIPMENTS
from shipping_service.edge.servicer import ShippingServicer
from shop.order.v1.order_messages_pb2 import OrderCancelledEvent, OrderConfirmedEvent
from shop.shipping.v1.shipping_service_pb2_grpc import add_ShippingServiceServicer_to_server
from shopkit.ledger import Ledger
from shopkit.rules import RuleBook
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

SERVICE = "shop.shipping.v1.ShippingService"
MIGRATIONS = Path(__file__).parent / "migrations"

_STREAM_TYPES = (SHIPMENTS,)
_READ_MODELS = (ShipmentsProjection(),)


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes the read models anew with."""
    return Rebuildable(group_of("shipping").id, Handlers(_STREAM_TYPES), _READ_MODELS)


def parts(config: Config, *, metrics: CollectorRegistry = REGISTRY, calls: CallCarrier | None = None) -> Parts:
    """Return what is shipping's own; `metrics` gets the figures of its calls to the outside.

    `calls` makes them to another carrier than the simulated one.
    """
    at_end: Sequence[Callable[[], None]] = ()
    if calls is None:
        ledger = Ledger(open_store(config.common.store.url.reveal(), "carrier"), utc_now)
        carrier = SimulatedCarrier(ledger, RuleBook(config.carrier_rules), delay_seconds=config.carrier_delay_seconds)
        calls = CallCarrier(carrier, *_callers(config, metrics), utc_now)
        at_end = (ledger.close,)
    times = DeliveryTimes(timedelta(seconds=config.delivery_seconds), timedelta(seconds=config.delayed_delivery_seconds))

    def rpc(commands: Commands, queries: Queries) -> Sequence[RpcService]:
        servicer = ShippingServicer(ShipmentTable(queries))
        return (RpcService(SERVICE, partial(add_ShippingServiceServicer_to_server, servicer)),)

    return Parts(
        name="shipping",
        stream_types=_STREAM_TYPES,
        handlers={
            OrderConfirmedEvent: ShipOrder(timedelta(seconds=config.carrier_give_up_seconds)),
            OrderCancelledEvent: CancelShipment(),
            ParcelBooked: SettleBooking(times),
            BookingRefused: SettleRefusal(),
            BookingWithdrawn: SettleWithdrawal(),
            TimerFired: DeliverParcel(),
        },
        registry=TypeRegistry((OrderConfirmedEvent, OrderCancelledEvent)),
        rpc=rpc,
        projections=_READ_MODELS,
        reactors={BookCarrier: calls.book, WithdrawBooking: calls.recall},
        migrations=MIGRATIONS,
        # No parcel is delivered while a cancellation that came in time may wait unread.
        reply_topics=("order.cancelled",),
        at_end=at_end,
    )


def _callers(config: Config, metrics: CollectorRegistry) -> tuple[ExternalCall, ExternalCall]:
    """Calls are asked about, not repeated, once their outcome is unknown; a breaker closes again soon, since orders wait."""
    attempt = config.carrier_timeout_seconds
    policy = CallPolicy(attempt_seconds=attempt, total_seconds=3 * attempt, breaker_failures=10, breaker_recovery_seconds=2.0)
    figures = ExternalMetrics(metrics)
    return ExternalCall("carrier", policy, figures), ExternalCall("carrier-aftercare", policy, figures)
