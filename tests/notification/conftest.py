"""The notification service on a bench, on both kinds of store, with a mailer that the test steers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from notification_service.application.ports import Mail
from notification_service.bootstrap import parts
from notification_service.domain.notices import Channel
from shop.order.v1 import order_messages_pb2 as order_pb
from shop.shipping.v1 import shipping_messages_pb2 as shipping_pb
from shop.types.v1.money_pb2 import Money
from shopkit.mapping import to_timestamp
from shopkit.testing.bench import Bench

NOW = to_timestamp(datetime(2026, 3, 1, tzinfo=UTC))


@dataclass
class FakeMailer:
    """A mailer that keeps what it is given; `faults` are raised first, one a mail."""

    channel: Channel = Channel.EMAIL
    faults: list[Exception] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)
        if self.faults:
            raise self.faults.pop(0)

    def close(self) -> None:
        return


@pytest.fixture
def mailer() -> FakeMailer:
    return FakeMailer()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def benches(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Give a factory of benches: `benches(mailer)`."""
    with ExitStack() as running:

        def make(mailer: Any, contacts: Any = ()) -> Bench:
            url = "memory://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
            return running.enter_context(Bench(parts(mailer, contacts, CollectorRegistry()), url))

        yield make


@pytest.fixture
def about() -> Callable[..., dict[str, Any]]:
    """Give a factory of every message about one order, by its kind's name."""

    def make(order_id: str, customer_id: str, reason: str = "") -> dict[str, Any]:
        price = Money(currency="EUR", minor_units=2499)
        items = [order_pb.OrderItem(item_id="teapot", name="Teapot", quantity=2, price=price)]
        whose: dict[str, Any] = {"order_id": order_id, "customer_id": customer_id}
        order: dict[str, Any] = {**whose, "items": items, "total_amount": Money(currency="EUR", minor_units=4998)}
        parcel: dict[str, Any] = {**whose, "tracking_number": "T-1"}
        return {
            "order_created": order_pb.OrderCreatedEvent(
                **order, status=order_pb.ORDER_STATUS_PENDING, created_at=NOW, sequence=1
            ),
            "order_confirmed": order_pb.OrderConfirmedEvent(
                **order, status=order_pb.ORDER_STATUS_CONFIRMED, confirmed_at=NOW, sequence=2
            ),
            "order_cancelled": order_pb.OrderCancelledEvent(
                **order, status=order_pb.ORDER_STATUS_CANCELLED, reason=reason, cancelled_at=NOW, sequence=3
            ),
            "order_completed": order_pb.OrderCompletedEvent(
                **order, status=order_pb.ORDER_STATUS_COMPLETED, completed_at=NOW, delayed=True, sequence=3
            ),
            "shipping_scheduled": shipping_pb.ShippingScheduledEvent(**parcel, expected_delivery_at=NOW, scheduled_at=NOW),
            "shipping_delayed": shipping_pb.ShippingDelayedEvent(
                **parcel, reason=reason, expected_delivery_at=NOW, delayed_at=NOW
            ),
            "shipping_failed": shipping_pb.ShippingFailedEvent(**whose, reason=reason, failed_at=NOW),
            "shipping_delivered": shipping_pb.ShippingDeliveredEvent(**parcel, delivered_at=NOW),
        }

    return make
