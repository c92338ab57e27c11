"""The customers of a simulation: each places an order, repeating the call until it is answered, and some think better of it."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from devkit.simulation.edge import DirectEdge
from devkit.simulation.shop import PRICES
from millrace.errors import Refused, Unavailable
from notification_service.application.set_contact import SetContact
from shop.order.v1.order_service_pb2 import CancelOrderRequest, OrderLine, PlaceOrderRequest
from shop.types.v1.money_pb2 import Money

_PATIENCE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 60.0
_ITEMS = (*["teapot", "kettle", "mug"] * 4, "rare-vase", "anvil", "piano")
_POOR, _MAILED = 0xD, 0xE  # the last digit of their ids


@dataclass(slots=True)
class Wish:
    """An order to be: what, when, and how long after it the customer takes it back, if at all. Then what became of it."""

    number: int
    request: PlaceOrderRequest
    at_seconds: float
    regrets_after_seconds: float | None
    order_id: str = ""
    cancelled: bool = False


def draw_wishes(chance: Random, orders: int, a_second: float) -> list[Wish]:
    """Return wishes that come at `a_second` on average."""
    wishes = []
    at = 1.0
    for number in range(orders):
        at += chance.expovariate(a_second)
        items = chance.sample(_ITEMS, chance.choice((1, 1, 2, 3)))
        lines = [
            OrderLine(item_id=item, quantity=chance.randint(1, 3), price=Money(currency="EUR", minor_units=PRICES[item]))
            for item in dict.fromkeys(items)
        ]
        customer = str(UUID(int=chance.getrandbits(128), version=4))
        request = PlaceOrderRequest(customer_id=customer, idempotency_key=f"wish {number}", items=lines)
        regrets = chance.uniform(0, 8) if chance.random() < 0.1 else None
        wishes.append(Wish(number, request, at, regrets))
    return wishes


def is_declined(customer_id: str) -> bool:
    """Say whether a customer's card is refused: one in sixteen."""
    return int(customer_id[-1], 16) == _POOR


def contacts_of(wishes: Sequence[Wish]) -> list[SetContact]:
    """Return where those customers are reached who want mail: one in sixteen."""
    mailed = (wish.request.customer_id for wish in wishes if int(wish.request.customer_id[-1], 16) == _MAILED)
    return [SetContact(customer, f"{customer}@example.org", "Customer") for customer in mailed]


async def shop_for(wish: Wish, edge: DirectEdge, chance: Random) -> None:
    """Fulfil one wish."""
    await asyncio.sleep(wish.at_seconds)
    answer = await _insist(edge, "PlaceOrder", wish.request, chance)
    wish.order_id = answer.order_id
    if wish.regrets_after_seconds is None:
        return
    await asyncio.sleep(wish.regrets_after_seconds)
    try:
        await _insist(edge, "CancelOrder", CancelOrderRequest(order_id=wish.order_id), chance)
        wish.cancelled = True
    except Refused:
        wish.cancelled = False


async def _insist(edge: DirectEdge, method: str, request: object, chance: Random) -> Any:
    """Return the answer to a call, repeated with longer and longer pauses as long as nobody answers."""
    for attempt in itertools.count():
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await edge.call(method, request)
        except (Unavailable, TimeoutError):
            await asyncio.sleep(chance.uniform(0.1, min(2 ** (attempt + 1), _LONGEST_PAUSE_SECONDS)))
    raise AssertionError("calls are repeated for ever")
