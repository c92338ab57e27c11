"""Places orders of each outcome, cancels them, and waits until everything that follows has happened."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import grpc

from millrace.edge.client import status_violations
from millrace.testing.waiting import eventually
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import (
    CancelOrderRequest,
    GetOrderRequest,
    ListOrdersRequest,
    Order,
    OrderLine,
    PlaceOrderRequest,
)
from shop.types.v1.money_pb2 import Money
from shopkit.testing.books import read_books, unfit
from shopkit.testing.connection import ShopConnection, all_pages, code_of, patiently
from shopkit.testing.outcomes import CURRENCY, PRICES, Outcome

_UNFINISHED = (OrderStatus.ORDER_STATUS_PENDING, OrderStatus.ORDER_STATUS_CONFIRMED, OrderStatus.ORDER_STATUS_CANCELLING)


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was accepted, and what is to become of it; `or_else` names outcomes that are as right, where two things race."""

    order_id: str
    outcome: Outcome
    or_else: tuple[Outcome, ...] = ()


def order_line(item_id: str, quantity: int, price_minor: int | None = None, currency: str = CURRENCY) -> OrderLine:
    """Return a line at the catalogue's price, or at another."""
    price = PRICES[item_id] if price_minor is None else price_minor
    return OrderLine(item_id=item_id, quantity=quantity, price=Money(currency=currency, minor_units=price))


def request_for(outcome: Outcome, key: str | None = None) -> PlaceOrderRequest:
    """Return a request that leads to an outcome, under a new idempotency key if none is given."""
    return PlaceOrderRequest(
        customer_id=outcome.customer(),
        idempotency_key=key or str(uuid4()),
        items=[order_line(outcome.item_id, outcome.quantity)],
    )


def place(shop: ShopConnection, outcome: Outcome, *, within_seconds: float = 60.0) -> Placed:
    """Place an order and return once it is accepted, repeating the same call while the service is away."""
    answer = patiently(shop.order.PlaceOrder, request_for(outcome), within_seconds=within_seconds)
    return Placed(answer.order_id, outcome)


def place_all(shop: ShopConnection, outcomes: Iterable[Outcome], *, at_once: int = 16) -> list[Placed]:
    """Place many orders, `at_once` at a time, and return once all are accepted."""
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(lambda outcome: place(shop, outcome), outcomes))


def cancel(shop: ShopConnection, order_id: str) -> bool:
    """Cancel an order; return False if it is too late for that."""
    try:
        patiently(shop.order.CancelOrder, CancelOrderRequest(order_id=order_id, reason="changed my mind"))
    except grpc.RpcError as error:
        if code_of(error) is grpc.StatusCode.FAILED_PRECONDITION:
            return False
        raise
    return True


def get_order(shop: ShopConnection, order_id: str) -> Order:
    """Return an order as it stands."""
    order: Order = patiently(shop.order.GetOrder, GetOrderRequest(order_id=order_id)).order
    return order


def unfinished(shop: ShopConnection) -> list[Order]:
    """Return every order that is not completed or cancelled yet."""
    return [
        order
        for status in _UNFINISHED
        for order in all_pages(shop.order.ListOrders, ListOrdersRequest(status=status), lambda page: page.orders)
    ]


def wait_ready(shop: ShopConnection, *, within_seconds: float = 60.0) -> None:
    """Return once the order service knows the whole catalogue.

    Asks for everything at a wrong price, so that nothing is ever placed: the refusal says which items are known.
    """
    wrong = PlaceOrderRequest(
        customer_id=str(uuid4()), idempotency_key="wait-ready", items=[order_line(item_id, 1, 1) for item_id in PRICES]
    )
    wanted = [f"items[{number}].price" for number in range(len(PRICES))]

    def refused() -> list[str]:
        try:
            patiently(shop.order.PlaceOrder, wrong, within_seconds=within_seconds)
        except grpc.RpcError as error:
            return [violation.field for violation in status_violations(error)]
        return []

    eventually(lambda: refused() == wanted, within_seconds, refused, every_seconds=0.05)


def wait_final(shop: ShopConnection, placed: Sequence[Placed], *, within_seconds: float = 60.0) -> None:
    """Return once every one of these orders is completed or cancelled."""
    wanted = {each.order_id for each in placed}

    def left() -> list[str]:
        return [f"{o.order_id} {OrderStatus.Name(o.status)}" for o in unfinished(shop) if o.order_id in wanted]

    eventually(lambda: not left(), within_seconds, left, every_seconds=0.1)


def wait_settled(shop: ShopConnection, placed: Sequence[Placed], *, within_seconds: float = 60.0) -> None:
    """Return once every service holds of each order what its outcome says. Raises AssertionError with all that still differs."""
    give_up_at = time.monotonic() + within_seconds
    wait_final(shop, placed, within_seconds=within_seconds)

    def settle(each: Placed) -> None:
        eventually(lambda: _fits(shop, each), max(1.0, give_up_at - time.monotonic()), every_seconds=0.1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(settle, placed))


def _fits(shop: ShopConnection, placed: Placed) -> bool:
    books = read_books(shop, placed.order_id)
    faults = unfit(books, placed.outcome)
    right = not faults or any(not unfit(books, outcome) for outcome in placed.or_else)
    assert right, f"{placed.outcome.name} {placed.order_id}: {'; '.join(faults)}"
    return True
