"""Reads what every service holds."""

from dataclasses import dataclass, field
from typing import Final

from rich.table import Table

from shop.analytics.v1.analytics_service_pb2 import (
    GetSagaStatsRequest,
    GetSagaStatsResponse,
    GetSummaryRequest,
    GetSummaryResponse,
)
from shop.inventory.v1.inventory_service_pb2 import ListStockRequest, Stock
from shop.notification.v1.notification_service_pb2 import ListNotificationsRequest, Notification
from shop.order.v1.order_service_pb2 import ListOrdersRequest, Order
from shop.payment.v1.payment_service_pb2 import ListPaymentsRequest, Payment
from shop.shipping.v1.shipping_service_pb2 import ListShipmentsRequest, Shipment
from shopkit.clients import Shop, read_pages
from shopkit.show import tables

_ID_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the six services held when they were asked, one after the other."""

    orders: list[Order] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    stock: list[Stock] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    summary: GetSummaryResponse = field(default_factory=GetSummaryResponse)
    stats: GetSagaStatsResponse = field(default_factory=GetSagaStatsResponse)

    def tables(self) -> list[Table]:
        """Return one table for each service."""
        return [
            tables.orders_table(self.orders, id_length=_ID_LENGTH),
            tables.payments_table(self.payments, id_length=_ID_LENGTH),
            tables.stock_table(self.stock),
            tables.shipments_table(self.shipments, id_length=_ID_LENGTH),
            tables.notifications_table(self.notifications, id_length=_ID_LENGTH),
            tables.summary_table(self.summary, self.stats),
        ]


async def read_stock(shop: Shop) -> list[Stock]:
    """Return every item's stock."""
    async with shop.inventory() as service:
        return await read_pages(service.ListStock, ListStockRequest(), lambda answer: answer.stock)


async def read_holdings(shop: Shop) -> Holdings:
    """Return what all of them hold now."""
    async with shop.order() as order:
        orders = await read_pages(order.ListOrders, ListOrdersRequest(), lambda answer: answer.orders)
    async with shop.payment() as payment:
        payments = await read_pages(payment.ListPayments, ListPaymentsRequest(), lambda answer: answer.payments)
    async with shop.shipping() as shipping:
        shipments = await read_pages(shipping.ListShipments, ListShipmentsRequest(), lambda answer: answer.shipments)
    async with shop.notification() as notification:
        notifications = await read_pages(
            notification.ListNotifications, ListNotificationsRequest(), lambda answer: answer.notifications
        )
    async with shop.analytics() as analytics:
        summary = await analytics.GetSummary(GetSummaryRequest())
        stats = await analytics.GetSagaStats(GetSagaStatsRequest())
    stock = await read_stock(shop)
    return Holdings(orders, payments, stock, shipments, notifications, summary, stats)
