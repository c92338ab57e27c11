"""The order service's saga against a model of a few lines: whatever crashes, is doubled or overtaken, what partners say alone decides.

Several orders are under way at once, each with a script: what each partner says, or that it never does, and where the customer cancels.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message as Protobuf
from hypothesis import given, settings
from hypothesis import strategies as st

from devkit.simulation.shop import settings_of, spec_of
from millrace.cqrs.registry import TypeRegistry
from millrace.envelope import decode
from millrace.errors import Unavailable
from millrace.testing.world import Delivery, Faults, World, WorldService
from order_service.application.saga import timestamp
from order_service.bootstrap import parts
from order_service.config import Config
from order_service.domain.commands import CancelOrder, PlaceOrder
from order_service.domain.order import ORDERS, Money, OrderItem, OrderStatus
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.order.v1 import order_messages_pb2 as order
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping
from shop.types.v1.money_pb2 import Money as WireMoney

T = TypeVar("T")
CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
SILENT = "silent"
_LISTEN_EVERY = timedelta(seconds=5)
REGISTRY = TypeRegistry.from_modules(payment, inventory, order)
ITEMS = [inventory.StockLine(item_id="mug", quantity=2)]
TOTAL = WireMoney(currency="EUR", minor_units=1798)
UNDOING = {payment.RefundPaymentCommand: "refund", inventory.ReleaseStockCommand: "release"}
SPEC = spec_of(parts(settings_of(Config.read)))


@dataclass(frozen=True)
class Script:
    """What becomes of one order's requests, and during which step the customer cancels."""

    payment: str
    stock: str
    shipping: str
    cancelled_in: str


SCRIPTS = st.builds(
    Script,
    st.sampled_from(["charged", "charged", "charged", "declined", SILENT]),
    st.sampled_from(["reserved", "reserved", "reserved", "short", SILENT]),
    st.sampled_from(["scheduled", "delayed", "failed", SILENT]),
    st.sampled_from(["", "", "", "payment", "stock"]),
)


@dataclass(frozen=True)
class End:
    """Where an order ends, and what was asked to be undone."""

    status: OrderStatus
    undone: frozenset[str] = frozenset()
    delayed: bool = False


def model(script: Script) -> End:
    """Say how an order ends, from its script alone: what happened or may have happened is undone, and nothing else."""
    undone: set[str] = set()
    for step, said, undo, good in (
        ("payment", script.payment, "refund", "charged"),
        ("stock", script.stock, "release", "reserved"),
    ):
        cancelled = script.cancelled_in == step
        if cancelled or said in (good, SILENT):
            undone.add(undo)
        if cancelled or said != good:
            return End(OrderStatus.CANCELLED, frozenset(undone))
    if script.shipping in ("failed", SILENT):
        return End(OrderStatus.CANCELLED, frozenset(undone))
    return End(OrderStatus.COMPLETED, delayed=script.shipping == "delayed")


class Trouble(Faults):
    """Crashes, redeliveries, late and lost messages and reorderings across keys, from one seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def crashes(self, service: str, where: str) -> bool:
        return self._chance.random() < 0.02

    def stays_down(self, service: str) -> timedelta:
        """Now and then longer than shipping is waited for: its answer, there by then, has to count before the deadline that passed."""
        return timedelta(seconds=self._chance.choice((0.1, 1, 10, 400)))

    def delivery(self, topic: str, key: bytes | None) -> Delivery:
        draw = self._chance.random()
        return Delivery(timedelta(seconds=self._chance.uniform(0, 1)), arrives=draw > 0.15, reported=draw > 0.25)

    def rereads(self, offset: int) -> int:
        return max(0, offset - self._chance.randint(0, 5))

    def takes(self, most: int) -> int:
        return self._chance.choice((0, 1, 3))

    def ordered(self, items: Sequence[T]) -> Sequence[T]:
        return self._chance.sample(items, len(items))


class Partners:
    """Answer each request as its order's script says: after a while, once to thrice, and to the same request always the same."""

    def __init__(self, world: World, service: WorldService, scripts: dict[str, Script], chance: random.Random) -> None:
        self._world, self._service, self._scripts, self._chance = world, service, scripts, chance
        self._seen: set[tuple[str, int, int]] = set()
        self._numbers = itertools.count()
        self._cancelled: set[str] = set()
        self._later: list[tuple[datetime, int, Callable[[], None]]] = []
        self.undone: dict[str, set[str]] = {order_id: set() for order_id in scripts}

    def play(self) -> None:
        """Hear and answer until every order is at its end and no answer is left to come. Raises AssertionError after two hours."""
        ends = self._world.clock() + timedelta(hours=2)
        while self._later or not all(self._is_final(order_id) for order_id in self._scripts):
            assert self._world.clock() < ends, {order_id: self.status(order_id) for order_id in self._scripts}
            wait = self._later[0][0] - self._world.clock() if self._later else _LISTEN_EVERY
            self._world.skip(min(max(wait, timedelta()), _LISTEN_EVERY))
            while self._later and self._later[0][0] <= self._world.clock():
                heapq.heappop(self._later)[2]()
            self._world.settle()
            self._hear()

    def status(self, order_id: str) -> OrderStatus:
        return self._service.state(ORDERS, order_id).status

    def place(self, order_id: str) -> None:
        """Place an order, again and again while the service is away."""
        command = PlaceOrder(order_id, CUSTOMER, (OrderItem("mug", "Mug", 2, 899),), Money("EUR", 1798), "fingerprint")
        try:
            self._service.order(order_id, command)
        except Unavailable:
            self._in(1, partial(self.place, order_id))

    def _is_final(self, order_id: str) -> bool:
        return self.status(order_id) in (OrderStatus.COMPLETED, OrderStatus.CANCELLED)

    def _hear(self) -> None:
        for topic in ("payment.request", "inventory.request", "order.confirmed"):
            for record in self._world.broker.records(topic):
                place = (topic, record.partition, record.offset)
                if place not in self._seen:
                    self._seen.add(place)
                    self._take(REGISTRY.decode(decode(record)))

    def _take(self, request: Any) -> None:
        script = self._scripts[request.order_id]
        if undo := UNDOING.get(type(request)):
            self.undone[request.order_id].add(undo)
        step = {payment.ChargePaymentCommand: "payment", inventory.ReserveStockCommand: "stock"}.get(type(request))
        if step == script.cancelled_in and request.order_id not in self._cancelled:
            try:
                self._service.order(request.order_id, CancelOrder(request.order_id, "changed my mind"))
            except Unavailable:
                self._in(1, partial(self._take, request))
                return
            self._cancelled.add(request.order_id)
        answer = self._answer(request, script)
        if answer is not None:
            for _ in range(self._chance.randint(1, 3)):
                self._in(self._chance.uniform(0, 6), partial(self._world.publish, answer))

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self._world.clock() + timedelta(seconds=seconds), next(self._numbers), action))

    def _answer(self, request: Any, script: Script) -> Protobuf | None:
        """Return what a request is answered with; None if its partner is silent."""
        now = timestamp(self._world.clock())
        order_id: dict[str, Any] = {"order_id": request.order_id}
        parcel = {**order_id, "customer_id": CUSTOMER}
        match request:
            case payment.ChargePaymentCommand():
                return {
                    "charged": payment.PaymentChargedEvent(**order_id, amount=TOTAL),
                    "declined": payment.PaymentDeclinedEvent(**order_id, reason="no"),
                }.get(script.payment)
            case inventory.ReserveStockCommand():
                return {
                    "reserved": inventory.StockReservedEvent(**order_id, lines=ITEMS),
                    "short": inventory.StockShortEvent(**order_id),
                }.get(script.stock)
            case order.OrderConfirmedEvent():
                booked = {**parcel, "tracking_number": "t", "expected_delivery_at": now}
                return {
                    "scheduled": shipping.ShippingScheduledEvent(**booked, scheduled_at=now),
                    "delayed": shipping.ShippingDelayedEvent(**booked, delayed_at=now),
                    "failed": shipping.ShippingFailedEvent(**parcel, failed_at=now),
                }.get(script.shipping)
            case payment.RefundPaymentCommand():
                return payment.PaymentRefundedEvent(**order_id, amount=TOTAL)
            case inventory.ReleaseStockCommand():
                return inventory.StockReleasedEvent(**order_id, lines=ITEMS)
            case inventory.ShipStockCommand():
                return inventory.StockShippedEvent(**order_id, lines=ITEMS)
        raise AssertionError(f"nobody answers {type(request).__name__}")


@settings(max_examples=100, deadline=None)
@given(scripts=st.lists(SCRIPTS, min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_every_order_ends_as_the_model_says(scripts: list[Script], seed: int) -> None:
    chance = random.Random(seed)
    by_order = {str(UUID(int=number, version=4)): script for number, script in enumerate(scripts)}
    with World(Trouble(chance)) as world:
        partners = Partners(world, service := world.add(SPEC), by_order, chance)
        for order_id in by_order:
            partners.place(order_id)
        partners.play()
        ended = {
            order_id: End(
                partners.status(order_id), frozenset(partners.undone[order_id]), service.state(ORDERS, order_id).delayed
            )
            for order_id in by_order
        }
    assert ended == {order_id: model(script) for order_id, script in by_order.items()}
