"""The order service on a bench and on a store in memory, what is ordered of it, and what its partners answer."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.settings import Environment
from order_service.bootstrap import parts
from order_service.config import Config
from order_service.domain.commands import PlaceOrder
from order_service.domain.order import Money, OrderItem
from order_service.edge.validation import order_id_of
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping
from shop.types.v1 import money_pb2
from shopkit.mapping import to_timestamp
from shopkit.testing.bench import Bench
from shopkit.testing.decider import Decider

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
EUR = "EUR"
TOTAL = 4297
AT = to_timestamp(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Config]:
    def read(**variables: str) -> Config:
        given = {"MILLRACE_STORE_URL": f"sqlite:///{tmp_path}/order.db", "MILLRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1", **variables}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        environment = Environment()
        settings = Config.read(environment)
        assert environment.faults() == []
        return settings

    return read


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def bench(request: pytest.FixtureRequest, config: Callable[..., Config]) -> Iterator[Bench]:
    url = "memory://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")()
    with Bench(parts(config()), url) as bench:
        yield bench


@pytest.fixture
def decider(config: Callable[..., Config]) -> Iterator[Decider]:
    decider = Decider(parts(config()))
    yield decider
    decider.store.close()


@pytest.fixture
def placing() -> Callable[..., PlaceOrder]:
    """Give a factory of commands that place two mugs and a pot, each under a key of its own."""

    def make(key: str = "key", customer_id: str = CUSTOMER) -> PlaceOrder:
        items = (OrderItem("mug", "Mug", 2, 899), OrderItem("pot", "Pot", 1, 2499))
        return PlaceOrder(order_id_of(customer_id, key), customer_id, items, Money(EUR, TOTAL), "what was asked")

    return make


@pytest.fixture
def answers() -> Callable[..., Mapping[str, Protobuf]]:
    """Give a factory of every answer to an order of `placing`, by name."""

    def make(order_id: str) -> Mapping[str, Protobuf]:
        lines = [inventory.StockLine(item_id="mug", quantity=2), inventory.StockLine(item_id="pot", quantity=1)]
        short = [inventory.ShortLine(item_id="mug", requested=2, available=1)]
        amount = money_pb2.Money(currency=EUR, minor_units=TOTAL)
        whose: dict[str, Any] = {"order_id": order_id, "customer_id": CUSTOMER}
        parcel: dict[str, Any] = {**whose, "tracking_number": "T-1", "expected_delivery_at": AT}
        return {
            "charged": payment.PaymentChargedEvent(order_id=order_id, amount=amount),
            "declined": payment.PaymentDeclinedEvent(order_id=order_id, reason="card declined"),
            "refunded": payment.PaymentRefundedEvent(order_id=order_id, amount=amount),
            "refunded nothing": payment.PaymentRefundedEvent(order_id=order_id, amount=money_pb2.Money(currency="XXX")),
            "reserved": inventory.StockReservedEvent(order_id=order_id, lines=lines),
            "short": inventory.StockShortEvent(order_id=order_id, short=short),
            "released": inventory.StockReleasedEvent(order_id=order_id, lines=lines),
            "released nothing": inventory.StockReleasedEvent(order_id=order_id),
            "shipped": inventory.StockShippedEvent(order_id=order_id, lines=lines),
            "scheduled": shipping.ShippingScheduledEvent(**parcel, scheduled_at=AT),
            "delayed": shipping.ShippingDelayedEvent(**parcel, reason="snow", delayed_at=AT),
            "failed": shipping.ShippingFailedEvent(**whose, reason="no carrier", failed_at=AT),
            "delivered": shipping.ShippingDeliveredEvent(**whose, tracking_number="T-1", delivered_at=AT),
        }

    return make


@pytest.fixture
def items() -> Mapping[str, Protobuf]:
    """Give inventory's messages that make the items of `placing` known."""
    return {
        name: inventory.ItemChangedEvent(
            item_id=name, name=name.capitalize(), price=money_pb2.Money(currency=EUR, minor_units=price), active=True, sequence=1
        )
        for name, price in (("mug", 899), ("pot", 2499))
    }
