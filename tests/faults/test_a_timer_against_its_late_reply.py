"""A saga's timer against its late reply, on two nodes and after an outage, and compensations before their forward commands: each order has
one outcome, and money and stock are conserved."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from devkit.services import SERVICES
from devkit.shops import pytest_runtest_makereport  # noqa: F401 - a hook for the tests of this module
from devkit.stack import Stack, StackSettings
from millrace.envelope import encode_headers
from millrace.message import Message
from millrace.testing.waiting import eventually
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.inventory.v1.inventory_service_pb2 import GetReservationRequest, ReservationStatus
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.payment.v1.payment_service_pb2 import GetPaymentRequest, Payment, PaymentStatus
from shop.types.v1.money_pb2 import Money
from shopkit.testing.books import stock, stock_unfit
from shopkit.testing.connection import ShopConnection, found_or_none
from shopkit.testing.driver import get_order, place_all, wait_ready, wait_settled
from shopkit.testing.outcomes import HAPPY, SILENT_PAYMENT, SILENT_STOCK
from shopkit.testing.records import Raw, all_read, read_all, write

pytestmark = pytest.mark.servers

ANSWER_SECONDS = 2.0
DELAYS = (0.0, 1.6, 1.8, 1.9, 2.0, 2.1, 2.2, 4.0)
"""How long the gateway takes for the orders of one customer each: around the deadline, where a timer and its late reply meet."""
CUSTOMERS = {str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{delay}")): delay for delay in DELAYS}
RULES = [{"when": {"customer_id": who}, "then": "delay", "delay_seconds": delay} for who, delay in CUSTOMERS.items() if delay]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = {
        "*": {"MILLRACE_KAFKA_SESSION_TIMEOUT_SECONDS": "3"},
        "order": {"ORDER_SAGA_ANSWER_SECONDS": "10", "ORDER_SAGA_ATTEMPTS": "1", "ORDER_SAGA_SHIPPING_SECONDS": "600"},
        "payment": {"PAYMENT_GATEWAY_RULES": json.dumps(RULES)},
        "shipping": {"SHIPPING_DELIVERY_SECONDS": "0.2"},
    }
    folder = tmp_path_factory.mktemp("late")
    with Stack(StackSettings(folder=folder, store="postgresql", instances={"order": 2}, env=env)) as stack:
        yield stack


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[ShopConnection]:
    with ShopConnection({name: stack.addresses(name) for name in SERVICES}) as shop:
        wait_ready(shop)
        yield shop


def deadlines(stack: Stack) -> list[tuple[bool, bool]]:
    """Return of each timer of the orders whether it has begun, and whether it is over."""
    with psycopg.connect(stack.instance("order").store_url) as database:
        now = "extract(epoch FROM clock_timestamp()) * 1000000"
        return database.execute(f"SELECT due_at IS NOT NULL, coalesce(due_at < {now}, false) FROM timer").fetchall()


def answered(stack: Stack) -> set[str]:
    return {(seen.key or b"").decode() for seen in read_all(stack.bootstrap, ["payment.result"])}


def payment_of(shop: ShopConnection, order_id: str) -> Payment:
    found = found_or_none(shop.payment.GetPayment, GetPaymentRequest(order_id=order_id))
    return Payment() if found is None else found.payment


def test_replies_that_wait_in_kafka_after_an_outage_win_over_deadlines_long_past(stack: Stack, shop: ShopConnection) -> None:
    before = stock(shop)
    with ExitStack() as outage:
        with stack.frozen("payment"):
            placed = place_all(shop, [HAPPY] * 5)
            eventually(lambda: deadlines(stack) == [(True, False)] * 5, 30, lambda: deadlines(stack))
            outage.enter_context(stack.frozen("order"))
        eventually(lambda: {each.order_id for each in placed} <= answered(stack), 60, lambda: answered(stack))
        eventually(lambda: deadlines(stack) == [(True, True)] * 5, 60, lambda: deadlines(stack))
    wait_settled(shop, placed)
    assert stock_unfit(before, stock(shop), {HAPPY.item_id: 5 * HAPPY.quantity}) == []


def test_a_timer_and_its_late_reply_that_meet_on_two_nodes_have_one_outcome(stack: Stack, shop: ShopConnection) -> None:
    for number in (1, 2):
        stack.restart("order", number, env={"ORDER_SAGA_ANSWER_SECONDS": f"{ANSWER_SECONDS:g}"})
    wait_ready(shop)
    before = stock(shop)
    wanted = [replace(HAPPY, customer_id=customer) for customer in CUSTOMERS] * 4
    placed = [replace(each, or_else=(SILENT_PAYMENT, SILENT_STOCK)) for each in place_all(shop, wanted, at_once=32)]
    wait_settled(shop, placed)
    ended = Counter(
        (seen.key or b"").decode()
        for seen in {seen.id: seen for seen in read_all(stack.bootstrap, ["order.completed", "order.cancelled"])}.values()
    )
    orders = {each.order_id: get_order(shop, each.order_id) for each in placed}
    assert {order_id: ended[order_id] for order_id in orders} == dict.fromkeys(orders, 1)
    shipped = Counter[str]()
    for order in orders.values():
        if not order.reason:
            shipped.update({item.item_id: item.quantity for item in order.items})
    assert stock_unfit(before, stock(shop), shipped) == []
    late = [order for order in orders.values() if CUSTOMERS[order.customer_id] == max(DELAYS)]
    assert {order.reason for order in late} == {"payment gave no answer"}


def test_a_compensation_that_comes_before_its_forward_command_leaves_nothing_done(stack: Stack, shop: ShopConnection) -> None:
    order_id, before = str(uuid.uuid4()), stock(shop)
    amount = Money(currency="EUR", minor_units=899)
    line = inventory.StockLine(item_id=HAPPY.item_id, quantity=1)
    customer = str(uuid.uuid4())
    bodies = (
        ("payment.request", payment.RefundPaymentCommand(order_id=order_id, reason="too late")),
        ("payment.request", payment.ChargePaymentCommand(order_id=order_id, customer_id=customer, amount=amount)),
        ("inventory.request", inventory.ReleaseStockCommand(order_id=order_id)),
        ("inventory.request", inventory.ReserveStockCommand(order_id=order_id, items=[line])),
    )
    for topic, body in bodies:
        message = Message(body.DESCRIPTOR.full_name, body.SerializeToString(), order_id, "/test")
        write(stack.bootstrap, [Raw(topic, 0, order_id.encode(), message.payload, list(encode_headers(message)))])
    eventually(
        lambda: payment_of(shop, order_id).status == PaymentStatus.PAYMENT_STATUS_VOIDED, 60, lambda: payment_of(shop, order_id)
    )
    eventually(lambda: all_read(stack.bootstrap), 60)
    assert payment_of(shop, order_id).charged.minor_units == 0
    with psycopg.connect(stack.instance("payment").store_url) as books:
        assert books.execute("SELECT kind, outcome FROM external_ledger WHERE order_id = %s", [order_id]).fetchall() == []
    reservation = shop.inventory.GetReservation(GetReservationRequest(order_id=order_id)).reservation
    assert reservation.status == ReservationStatus.RESERVATION_STATUS_RELEASED
    assert stock_unfit(before, stock(shop), {}) == []
