"""What every service holds of one order, read over gRPC, and whether it is what it should be. Also the shop's stock and money."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shop.analytics.v1.analytics_service_pb2 import ListEventsRequest, RecordedEvent
from shop.inventory.v1.inventory_service_pb2 import GetReservationRequest, ListStockRequest, Reservation, ReservationStatus, Stock
from shop.notification.v1.notification_messages_pb2 import NotificationKind
from shop.notification.v1.notification_service_pb2 import ListNotificationsRequest, Notification
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import GetOrderRequest, GetSagaRequest, Order, Saga, SagaStatus
from shop.payment.v1.payment_service_pb2 import GetPaymentRequest, Payment, PaymentStatus
from shop.shipping.v1.shipping_service_pb2 import GetShipmentRequest, Shipment, ShipmentStatus
from shopkit.testing.connection import ShopConnection, all_pages, found_or_none, patiently
from shopkit.testing.outcomes import CURRENCY, Outcome
from shopkit.testing.records import Seen


@dataclass(frozen=True, slots=True)
class Books:
    """What the six services say of one order; None where a service knows nothing of it."""

    order: Order
    saga: Saga
    payment: Payment | None
    reservation: Reservation | None
    shipment: Shipment | None
    notifications: Sequence[Notification]
    events: Sequence[RecordedEvent]


def read_books(shop: ShopConnection, order_id: str) -> Books:
    """Ask every service for an order."""
    payment = found_or_none(shop.payment.GetPayment, GetPaymentRequest(order_id=order_id))
    reservation = found_or_none(shop.inventory.GetReservation, GetReservationRequest(order_id=order_id))
    shipment = found_or_none(shop.shipping.GetShipment, GetShipmentRequest(order_id=order_id))
    return Books(
        order=patiently(shop.order.GetOrder, GetOrderRequest(order_id=order_id)).order,
        saga=patiently(shop.order.GetSaga, GetSagaRequest(order_id=order_id)).saga,
        payment=payment and payment.payment,
        reservation=reservation and reservation.reservation,
        shipment=shipment and shipment.shipment,
        notifications=all_pages(
            shop.notification.ListNotifications, ListNotificationsRequest(order_id=order_id), lambda page: page.notifications
        ),
        events=all_pages(shop.analytics.ListEvents, ListEventsRequest(order_id=order_id), lambda page: page.events),
    )


def unfit(books: Books, outcome: Outcome) -> list[str]:
    """Return everything in the books that is not as the outcome has it; empty if all is right and nothing is left to do."""
    found = [
        _differs("order", OrderStatus.Name(outcome.status), OrderStatus.Name(books.order.status)),
        _differs("saga", SagaStatus.Name(outcome.saga), SagaStatus.Name(books.saga.status)),
        _differs("payment", PaymentStatus.Name(outcome.payment), books.payment and PaymentStatus.Name(books.payment.status)),
        _differs(
            "reservation",
            None if outcome.reservation is None else ReservationStatus.Name(outcome.reservation),
            books.reservation and ReservationStatus.Name(books.reservation.status),
        ),
        _differs(
            "shipment", ShipmentStatus.Name(outcome.shipment), books.shipment and ShipmentStatus.Name(books.shipment.status)
        ),
        _differs("notifications", _kinds(outcome.notifications), _kinds(Counter(each.kind for each in books.notifications))),
        _differs("analytics", dict(outcome.events), dict(Counter(each.type.rpartition(".")[2] for each in books.events))),
        *_money_unfit(books, outcome.charged_minor, kept=outcome.status == OrderStatus.ORDER_STATUS_COMPLETED),
    ]
    return [fault for fault in found if fault]


def _money_unfit(books: Books, charged_minor: int, *, kept: bool) -> list[str]:
    if books.payment is None:
        return []
    charged, refunded = books.payment.charged, books.payment.refunded
    return [
        _differs("charged", (charged_minor, CURRENCY), (charged.minor_units, charged.currency)),
        _differs("refunded", (0 if kept else charged_minor, CURRENCY), (refunded.minor_units, refunded.currency)),
    ]


def _differs(what: str, wanted: Any, found: Any) -> str:
    return "" if wanted == found else f"{what}: wanted {wanted}, found {found}"


def _kinds(kinds: Counter[NotificationKind.ValueType]) -> dict[str, int]:
    return {NotificationKind.Name(kind): count for kind, count in sorted(kinds.items())}


def stock(shop: ShopConnection) -> dict[str, Stock]:
    """Return the stock of every item."""
    rows = all_pages(shop.inventory.ListStock, ListStockRequest(), lambda page: page.stock)
    return {row.item_id: row for row in rows}


def stock_unfit(before: Mapping[str, Stock], after: Mapping[str, Stock], shipped: Mapping[str, int]) -> list[str]:
    """Return where stock was made or lost, stayed reserved, or left otherwise than by `shipped` pieces of an item."""
    found: list[str] = []
    for item_id, was in before.items():
        now = after[item_id]
        found += [
            _differs(f"{item_id} in all", was.on_hand + was.reserved + was.shipped, now.on_hand + now.reserved + now.shipped),
            _differs(f"{item_id} reserved", 0, now.reserved),
            _differs(f"{item_id} shipped", was.shipped + shipped.get(item_id, 0), now.shipped),
        ]
    return [fault for fault in found if fault]


def messages_unfit(messages: Sequence[Seen], outcome: Outcome) -> list[str]:
    """Return where an order's messages are not exactly the outcome's: missing, more, or `sequence` of order.* with a gap."""
    sequences = sorted(int(each.text("ce_sequence")) for each in messages if each.topic.startswith("order."))
    steps = sum(name.startswith("Order") for name in outcome.messages)
    found = [
        _differs("messages", dict(sorted(outcome.all_messages.items())), dict(sorted(Counter(m.type for m in messages).items()))),
        _differs("sequences", list(range(1, steps + 1)), sequences),
        _differs("message ids", len(messages), len({each.id for each in messages})),
    ]
    return [fault for fault in found if fault]
