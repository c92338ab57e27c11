"""The tables of what each service holds. The CLI prints them one at a time, the demo all at its end.

`id_length` cuts the ids of orders, for where they only have to be told apart.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from rich.table import Table

from millrace.cli.output import Column, make_table
from shop.analytics.v1.analytics_service_pb2 import GetSagaStatsResponse, GetSummaryResponse
from shop.inventory.v1.inventory_service_pb2 import Item, Stock
from shop.notification.v1.notification_messages_pb2 import NotificationChannel, NotificationKind
from shop.notification.v1.notification_service_pb2 import Contact, Notification
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import Order, Saga, SagaLock, SagaStatus, SagaStep, SagaStepState
from shop.payment.v1.payment_service_pb2 import Payment, PaymentStatus
from shop.shipping.v1.shipping_service_pb2 import Shipment, ShipmentStatus
from shopkit.show.words import enum_word, money, moneys, seconds, time, time_of_day

ID_LENGTH: Final = 36


def orders_table(orders: Iterable[Order], *, id_length: int = ID_LENGTH) -> Table:
    """Return orders, one a line."""
    columns: Sequence[Column[Order]] = (
        Column("order", lambda each: each.order_id[:id_length], whole=True),
        Column("status", lambda each: enum_word(OrderStatus, each.status), whole=True),
        Column("items", lambda each: ", ".join(f"{item.quantity} x {item.item_id}" for item in each.items)),
        Column("total", lambda each: money(each.total_amount), right=True, whole=True),
        Column("reason", lambda each: each.reason or ("delayed" if each.delayed else "")),
    )
    return make_table("Orders", columns, orders)


def payments_table(payments: Iterable[Payment], *, id_length: int = ID_LENGTH) -> Table:
    """Return payments, one a line."""
    columns: Sequence[Column[Payment]] = (
        Column("order", lambda each: each.order_id[:id_length], whole=True),
        Column("status", lambda each: enum_word(PaymentStatus, each.status), whole=True),
        Column("amount", lambda each: money(each.amount), right=True, whole=True),
        Column("charged", lambda each: money(each.charged), right=True, whole=True),
        Column("refunded", lambda each: money(each.refunded), right=True, whole=True),
        Column("reason", lambda each: each.reason),
    )
    return make_table("Payments", columns, payments)


def stock_table(stock: Iterable[Stock]) -> Table:
    """Return stock, one item a line."""
    columns: Sequence[Column[Stock]] = (
        Column("item", lambda each: each.item_id, whole=True),
        Column("on hand", lambda each: each.on_hand, right=True),
        Column("reserved", lambda each: each.reserved, right=True),
        Column("shipped", lambda each: each.shipped, right=True),
    )
    return make_table("Stock", columns, stock)


def items_table(items: Iterable[Item]) -> Table:
    """Return the catalogue, one item a line."""
    columns: Sequence[Column[Item]] = (
        Column("item", lambda each: each.item_id, whole=True),
        Column("name", lambda each: each.name),
        Column("price", lambda each: money(each.price), right=True, whole=True),
        Column("sold", lambda each: "yes" if each.active else "no"),
    )
    return make_table("Items", columns, items)


def shipments_table(shipments: Iterable[Shipment], *, id_length: int = ID_LENGTH) -> Table:
    """Return shipments, one a line."""
    columns: Sequence[Column[Shipment]] = (
        Column("order", lambda each: each.order_id[:id_length], whole=True),
        Column("status", lambda each: enum_word(ShipmentStatus, each.status), whole=True),
        Column("tracking number", lambda each: each.tracking_number, whole=True),
        Column("expected (UTC)", lambda each: time(each.expected_delivery_at), whole=True),
        Column("reason", lambda each: each.reason),
    )
    return make_table("Shipments", columns, shipments)


def notifications_table(notifications: Iterable[Notification], *, id_length: int = ID_LENGTH) -> Table:
    """Return notifications, one a line."""
    columns: Sequence[Column[Notification]] = (
        Column("order", lambda each: each.order_id[:id_length], whole=True),
        Column("kind", lambda each: enum_word(NotificationKind, each.kind), whole=True),
        Column("channel", lambda each: enum_word(NotificationChannel, each.channel), whole=True),
        Column("subject", lambda each: each.subject),
        Column("sent (UTC)", lambda each: time(each.sent_at)[5:], whole=True),
    )
    return make_table("Notifications", columns, notifications)


def contacts_table(contacts: Iterable[Contact]) -> Table:
    """Return contacts, one a line."""
    columns: Sequence[Column[Contact]] = (
        Column("customer", lambda each: each.customer_id, whole=True),
        Column("name", lambda each: each.name),
        Column("mail", lambda each: each.email),
    )
    return make_table("Contacts", columns, contacts)


def saga_table(saga: Saga) -> Table:
    """Return a saga's steps in their order, one a line."""
    columns: Sequence[Column[SagaStep]] = (
        Column("step", lambda each: each.name, whole=True),
        Column("state", lambda each: enum_word(SagaStepState, each.state), whole=True),
        Column("attempts", lambda each: each.attempts, right=True),
        Column("asked (UTC)", lambda each: time_of_day(each.requested_at)),
        Column("answered (UTC)", lambda each: time_of_day(each.finished_at)),
        Column("detail", lambda each: each.detail),
    )
    return make_table(f"Saga of order {saga.order_id}: {enum_word(SagaStatus, saga.status)}", columns, saga.steps)


def saga_locks_table(saga: Saga) -> Table:
    """Return the locks a saga has, one a line."""
    columns: Sequence[Column[SagaLock]] = (
        Column("resource", lambda each: each.resource),
        Column("token", lambda each: each.token, right=True),
        Column("held until (UTC)", lambda each: time(each.held_until), whole=True),
    )
    return make_table("Locks", columns, saga.locks)


def summary_table(summary: GetSummaryResponse, stats: GetSagaStatsResponse) -> Table:
    """Return analytics' figures, one a line."""
    by_status = [(f"orders {enum_word(OrderStatus, each.status)}", each.orders) for each in summary.orders_by_status]
    lines: list[tuple[str, object]] = [
        ("orders", summary.orders),
        *by_status,
        ("completed late", summary.delayed_orders),
        ("value completed", moneys(summary.completed_amounts) or "none"),
        ("delivered", summary.delivered_shipments),
        ("sagas running", stats.running),
    ]
    if stats.completed + stats.cancelled:
        lines += [(f"time to the end, {name}", seconds(value)) for name, value in _durations(stats)]
    lines += [(f"cancelled: {each.reason}", each.orders) for each in stats.cancel_reasons]
    lines.append(("events recorded", summary.events))
    columns: Sequence[Column[tuple[str, object]]] = (
        Column("figure", lambda each: each[0]),
        Column("value", lambda each: each[1], right=True),
    )
    return make_table("Analytics", columns, lines)


def _durations(stats: GetSagaStatsResponse) -> tuple[tuple[str, Duration], ...]:
    return (
        ("median", stats.duration_p50),
        ("95 %", stats.duration_p95),
        ("99 %", stats.duration_p99),
        ("most", stats.duration_max),
    )
