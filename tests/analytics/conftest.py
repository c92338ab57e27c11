"""The analytics service on a bench, on both kinds of store, and the messages of an order."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics_service.bootstrap import parts
from shop.order.v1 import order_messages_pb2 as order_pb
from shop.shipping.v1 import shipping_messages_pb2 as shipping_pb
from shop.types.v1.money_pb2 import Money
from shopkit.mapping import to_timestamp
from shopkit.testing.bench import Bench

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    url = "memory://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
    with Bench(parts(), url) as bench:
        yield bench


@pytest.fixture
def about() -> Callable[..., dict[str, Any]]:
    """Give a factory of every message about one order, by its kind's name; it takes `seconds` from its creation to its end."""

    def make(order_id: str, *, currency: str = "EUR", minor: int = 500, seconds: float = 2, reason: str = "") -> dict[str, Any]:
        price = Money(currency=currency, minor_units=minor)
        whose: dict[str, Any] = {"order_id": order_id, "customer_id": order_id}
        items = [order_pb.OrderItem(item_id="mug", name="Mug", quantity=1, price=price)]
        order: dict[str, Any] = {**whose, "items": items, "total_amount": price}
        parcel: dict[str, Any] = {**whose, "tracking_number": "T-1"}
        start, end = to_timestamp(START), to_timestamp(START + timedelta(seconds=seconds))
        due: dict[str, Any] = {"expected_delivery_at": end}
        return {
            "created": order_pb.OrderCreatedEvent(**order, status=order_pb.ORDER_STATUS_PENDING, created_at=start, sequence=1),
            "confirmed": order_pb.OrderConfirmedEvent(
                **order, status=order_pb.ORDER_STATUS_CONFIRMED, confirmed_at=end, sequence=2
            ),
            "cancelled": order_pb.OrderCancelledEvent(
                **order, status=order_pb.ORDER_STATUS_CANCELLED, reason=reason, cancelled_at=end, sequence=3
            ),
            "completed": order_pb.OrderCompletedEvent(
                **order, status=order_pb.ORDER_STATUS_COMPLETED, completed_at=end, delayed=bool(reason), sequence=3
            ),
            "scheduled": shipping_pb.ShippingScheduledEvent(**parcel, **due, scheduled_at=end),
            "delayed": shipping_pb.ShippingDelayedEvent(**parcel, **due, reason=reason, delayed_at=end),
            "failed": shipping_pb.ShippingFailedEvent(**whose, reason=reason, failed_at=end),
            "delivered": shipping_pb.ShippingDeliveredEvent(**parcel, delivered_at=end),
        }

    return make
