"""The outcomes of an order: what to order to get each, where every service then stands, and which messages it takes.

Rests on the demo data that the services seed, and on SLOW_GATEWAY for the cancellation before the confirmation.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from shop.inventory.v1.inventory_service_pb2 import ReservationStatus
from shop.notification.v1.notification_messages_pb2 import NotificationKind
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import SagaStatus
from shop.payment.v1.payment_service_pb2 import PaymentStatus
from shop.shipping.v1.shipping_service_pb2 import ShipmentStatus

CURRENCY: Final = "EUR"
PRICES: Final = {"teapot": 2499, "kettle": 4999, "mug": 899, "rare-vase": 19999, "anvil": 9999, "piano": 99999}
DECLINED_CUSTOMER: Final = "00000000-0000-4000-8000-000000000402"
SLOW_CUSTOMER: Final = "00000000-0000-4000-8000-000000000510"
SLOW_GATEWAY: Final = json.dumps(
    [
        {"when": {"customer_id": DECLINED_CUSTOMER}, "then": "decline", "reason": "card declined"},
        {"when": {"customer_id": SLOW_CUSTOMER}, "then": "delay", "delay_seconds": 1.5},
    ]
)
"""A value of PAYMENT_GATEWAY_RULES under which there is time to cancel an order of SLOW_CUSTOMER."""

_PAID = ("OrderCreatedEvent", "ChargePaymentCommand", "PaymentChargedEvent")
_RESERVED = (*_PAID, "ReserveStockCommand", "StockReservedEvent", "OrderConfirmedEvent")
_SHIPPED = ("OrderCompletedEvent", "ShipStockCommand", "StockShippedEvent", "ShippingDeliveredEvent")
_REFUNDED = ("RefundPaymentCommand", "PaymentRefundedEvent", "OrderCancelledEvent")
_KINDS: Final = {
    "OrderCreatedEvent": NotificationKind.NOTIFICATION_KIND_ORDER_CREATED,
    "OrderConfirmedEvent": NotificationKind.NOTIFICATION_KIND_ORDER_CONFIRMED,
    "OrderCancelledEvent": NotificationKind.NOTIFICATION_KIND_ORDER_CANCELLED,
    "OrderCompletedEvent": NotificationKind.NOTIFICATION_KIND_ORDER_COMPLETED,
    "ShippingScheduledEvent": NotificationKind.NOTIFICATION_KIND_SHIPPING_SCHEDULED,
    "ShippingDelayedEvent": NotificationKind.NOTIFICATION_KIND_SHIPPING_DELAYED,
    "ShippingFailedEvent": NotificationKind.NOTIFICATION_KIND_SHIPPING_FAILED,
    "ShippingDeliveredEvent": NotificationKind.NOTIFICATION_KIND_SHIPPING_DELIVERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way an order can go. `customer_id` empty: any customer. `messages` names each message's type, one of each."""

    name: str
    item_id: str = "teapot"
    quantity: int = 2
    customer_id: str = ""
    status: OrderStatus.ValueType
    saga: SagaStatus.ValueType
    payment: PaymentStatus.ValueType
    reservation: ReservationStatus.ValueType | None = None
    shipment: ShipmentStatus.ValueType
    messages: tuple[str, ...]

    @property
    def amount_minor(self) -> int:
        """Return what the order costs."""
        return PRICES[self.item_id] * self.quantity

    @property
    def charged_minor(self) -> int:
        """Return what is taken from the customer, whether given back later or not."""
        return self.amount_minor if "PaymentChargedEvent" in self.messages else 0

    @property
    def events(self) -> Counter[str]:
        """Return the types of the messages that notification and analytics act on."""
        return Counter(name for name in self.messages if name in _KINDS)

    @property
    def notifications(self) -> Counter[NotificationKind.ValueType]:
        """Return what the customer is told, by kind."""
        return Counter(_KINDS[name] for name in self.events)

    @property
    def all_messages(self) -> Counter[str]:
        """Return every message of the order on any topic, by type."""
        return Counter(self.messages) + Counter({"NotificationSentEvent": self.notifications.total()})

    def customer(self) -> str:
        """Return the customer this outcome needs, or a new one."""
        return self.customer_id or str(uuid4())


HAPPY = Outcome(
    name="happy",
    status=OrderStatus.ORDER_STATUS_COMPLETED,
    saga=SagaStatus.SAGA_STATUS_COMPLETED,
    payment=PaymentStatus.PAYMENT_STATUS_CHARGED,
    reservation=ReservationStatus.RESERVATION_STATUS_SHIPPED,
    shipment=ShipmentStatus.SHIPMENT_STATUS_DELIVERED,
    messages=(*_RESERVED, "ShippingScheduledEvent", *_SHIPPED),
)
DELAYED = Outcome(
    name="delayed",
    item_id="anvil",
    status=OrderStatus.ORDER_STATUS_COMPLETED,
    saga=SagaStatus.SAGA_STATUS_COMPLETED,
    payment=PaymentStatus.PAYMENT_STATUS_CHARGED,
    reservation=ReservationStatus.RESERVATION_STATUS_SHIPPED,
    shipment=ShipmentStatus.SHIPMENT_STATUS_DELIVERED,
    messages=(*_RESERVED, "ShippingDelayedEvent", *_SHIPPED),
)
DECLINED = Outcome(
    name="declined",
    customer_id=DECLINED_CUSTOMER,
    status=OrderStatus.ORDER_STATUS_CANCELLED,
    saga=SagaStatus.SAGA_STATUS_COMPENSATED,
    payment=PaymentStatus.PAYMENT_STATUS_DECLINED,
    shipment=ShipmentStatus.SHIPMENT_STATUS_CANCELLED,
    messages=("OrderCreatedEvent", "ChargePaymentCommand", "PaymentDeclinedEvent", "OrderCancelledEvent"),
)
SHORT = Outcome(
    name="short",
    item_id="rare-vase",
    quantity=3,
    status=OrderStatus.ORDER_STATUS_CANCELLED,
    saga=SagaStatus.SAGA_STATUS_COMPENSATED,
    payment=PaymentStatus.PAYMENT_STATUS_REFUNDED,
    reservation=ReservationStatus.RESERVATION_STATUS_SHORT,
    shipment=ShipmentStatus.SHIPMENT_STATUS_CANCELLED,
    messages=(*_PAID, "ReserveStockCommand", "StockShortEvent", *_REFUNDED),
)
REFUSED = Outcome(
    name="refused",
    item_id="piano",
    quantity=1,
    status=OrderStatus.ORDER_STATUS_CANCELLED,
    saga=SagaStatus.SAGA_STATUS_COMPENSATED,
    payment=PaymentStatus.PAYMENT_STATUS_REFUNDED,
    reservation=ReservationStatus.RESERVATION_STATUS_RELEASED,
    shipment=ShipmentStatus.SHIPMENT_STATUS_FAILED,
    messages=(*_RESERVED, "ShippingFailedEvent", "ReleaseStockCommand", "StockReleasedEvent", *_REFUNDED),
)
CANCELLED = Outcome(
    name="cancelled",
    customer_id=SLOW_CUSTOMER,
    status=OrderStatus.ORDER_STATUS_CANCELLED,
    saga=SagaStatus.SAGA_STATUS_COMPENSATED,
    payment=PaymentStatus.PAYMENT_STATUS_REFUNDED,
    shipment=ShipmentStatus.SHIPMENT_STATUS_CANCELLED,
    messages=(*_PAID, *_REFUNDED),
)
CANCELLED_WITH_STOCK = replace(
    CANCELLED,
    name="cancelled with stock",
    reservation=ReservationStatus.RESERVATION_STATUS_RELEASED,
    messages=(*_PAID, "ReserveStockCommand", "StockReservedEvent", "ReleaseStockCommand", "StockReleasedEvent", *_REFUNDED),
)
"""What a cancellation comes to that was a little later: stock was set aside, or asked for, by then."""
SILENT_PAYMENT = replace(CANCELLED, name="silent payment", customer_id="")
SILENT_STOCK = replace(CANCELLED_WITH_STOCK, name="silent stock", customer_id="")
SILENT_SHIPPING = replace(
    SILENT_STOCK, name="silent shipping", messages=(*_RESERVED, "ReleaseStockCommand", "StockReleasedEvent", *_REFUNDED)
)
"""What an order comes to, once all is quiet, whose step is not answered for before its deadline. What is asked again is told again."""
BOOKED_TOO_LATE = replace(SILENT_SHIPPING, name="booked too late", messages=(*SILENT_SHIPPING.messages, "ShippingScheduledEvent"))
"""The same, where shipping reads the confirmation before the cancellation: it books the carrier, and calls the parcel back."""
OUTCOMES: Final = (HAPPY, DELAYED, DECLINED, SHORT, REFUSED, CANCELLED)
