"""Compares what the services hold with how the scenarios have to end. Pure; every difference is one sentence."""

from collections.abc import Iterator, Mapping, Sequence

from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.notification.v1.notification_messages_pb2 import NotificationKind
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import Order
from shop.payment.v1.payment_service_pb2 import Payment
from shop.shipping.v1.shipping_service_pb2 import ShipmentStatus
from shopkit.demo.holdings import Holdings
from shopkit.demo.scenarios import Scenario
from shopkit.show.words import enum_word


def order_faults(scenario: Scenario, order: Order) -> list[str]:
    """Return how an order's end differs from what its scenario says."""
    found: list[str] = []
    if order.status != scenario.status:
        wanted, seen = enum_word(OrderStatus, scenario.status), enum_word(OrderStatus, order.status)
        found.append(f"{scenario.title}: the order is {seen} ({order.reason or 'no reason'}), not {wanted}")
    if order.delayed != scenario.delayed:
        found.append(f"{scenario.title}: the order is {'' if order.delayed else 'not '}delayed")
    return found


def holding_faults(played: Mapping[str, Scenario], before: Sequence[Stock], holdings: Holdings) -> list[str]:
    """Return what the services hold that cannot be, of the orders `played` (by order id) and with the stock of before."""
    return [
        *_payments(played, holdings),
        *_stock(played, before, holdings),
        *_shipments(played, holdings),
        *_notifications(played, holdings),
        *_analytics(played, holdings),
    ]


def _payments(played: Mapping[str, Scenario], holdings: Holdings) -> Iterator[str]:
    payments: dict[str, Payment] = {each.order_id: each for each in holdings.payments}
    totals = {each.order_id: each.total_amount.minor_units for each in holdings.orders}
    for order_id, scenario in played.items():
        payment = payments.get(order_id, Payment())
        kept = payment.charged.minor_units - payment.refunded.minor_units
        due = totals.get(order_id, 0) if scenario.completes else 0
        if kept != due:
            yield f"{scenario.title}: the payment service keeps {kept} minor units, not {due}"


def _stock(played: Mapping[str, Scenario], before: Sequence[Stock], holdings: Holdings) -> Iterator[str]:
    now = {each.item_id: each for each in holdings.stock}
    for item in before:
        shipped = sum(each.items.get(item.item_id, 0) for each in played.values() if each.completes)
        found = now.get(item.item_id, Stock())
        seen = (found.on_hand, found.reserved, found.shipped)
        wanted = (item.on_hand - shipped, item.reserved, item.shipped + shipped)
        if seen != wanted:
            yield f"{item.item_id}: on hand, reserved and shipped are {seen}, not {wanted}"


def _shipments(played: Mapping[str, Scenario], holdings: Holdings) -> Iterator[str]:
    states = {each.order_id: each.status for each in holdings.shipments}
    for order_id, scenario in played.items():
        delivered = states.get(order_id) == ShipmentStatus.SHIPMENT_STATUS_DELIVERED
        if delivered != scenario.completes:
            word = enum_word(ShipmentStatus, states.get(order_id, 0))
            yield f"{scenario.title}: its shipment is {word}"


def _notifications(played: Mapping[str, Scenario], holdings: Holdings) -> Iterator[str]:
    told = {(each.order_id, each.kind) for each in holdings.notifications if each.HasField("sent_at")}
    for order_id, scenario in played.items():
        late = [NotificationKind.NOTIFICATION_KIND_SHIPPING_DELAYED] if scenario.delayed else []
        for kind in (NotificationKind.NOTIFICATION_KIND_ORDER_CREATED, *late, scenario.last_notice):
            if (order_id, kind) not in told:
                yield f"{scenario.title}: the customer was not told {enum_word(NotificationKind, kind)}"


def _analytics(played: Mapping[str, Scenario], holdings: Holdings) -> Iterator[str]:
    stats = holdings.stats
    completed = sum(scenario.completes for scenario in played.values())
    seen = (holdings.summary.orders, stats.running, stats.completed, stats.cancelled)
    wanted = (len(played), 0, completed, len(played) - completed)
    if seen != wanted:
        yield f"analytics counts orders, running, completed and cancelled as {seen}, not {wanted}"
