"""Services are killed again and again while orders are under way: every order still comes to its right end, nothing happens twice, and
money and stock are conserved.

MILLRACE_CHAOS_SEED repeats a run's orders and victims; MILLRACE_CHAOS_ORDERS and MILLRACE_CHAOS_KILLS (400 and 30) set the size of the
large run, which `make chaos` makes larger: 2,000 orders and 100 kills take minutes, most of them the 100 starts of a service.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import psycopg
import pytest

from devkit.services import SERVICES, is_serving
from devkit.stack import Stack
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.notification.v1.notification_messages_pb2 import NotificationSentEvent
from shop.order.v1.order_messages_pb2 import OrderStatus
from shopkit.testing.books import messages_unfit, read_books, stock, stock_unfit
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import Placed, cancel, place, unfinished, wait_settled
from shopkit.testing.outcomes import CANCELLED, CANCELLED_WITH_STOCK, DECLINED, DELAYED, HAPPY, REFUSED, SHORT, Outcome
from shopkit.testing.records import Seen, count_all, read_all, topic_names

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

AMID = 20
INSTANCES = 2
MIX = (*[HAPPY] * 8, *[DECLINED] * 2, *[SHORT] * 2, *[DELAYED] * 3, *[REFUSED] * 3, *[CANCELLED] * 2)
# The gateway takes its time, so that orders are under way when a service is killed.
GATEWAY = {"PAYMENT_GATEWAY_DELAY_MS": "1000", "PAYMENT_GATEWAY_TIMEOUT_SECONDS": "5"}


@pytest.fixture
def seed() -> int:
    """Give the seed of the run, and print it."""
    given = int(os.environ.get("MILLRACE_CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"MILLRACE_CHAOS_SEED={given}")
    return given


@dataclass(frozen=True)
class Plan:
    """What a seed gives: the orders, whom to kill after which of them, and at how many under way at most."""

    outcomes: list[Outcome]
    victims: list[tuple[str, int]]
    at_most: list[int]

    def share(self, kill: int) -> list[Outcome]:
        """Return the orders to be placed before a kill."""
        size = len(self.outcomes) / len(self.victims)
        return self.outcomes[round(kill * size) : round((kill + 1) * size)]


def plan(seed: int, orders: int, kills: int, instances: int) -> Plan:
    dice = random.Random(seed)
    victims = [(SERVICES[number % len(SERVICES)], dice.randint(1, instances)) for number in range(kills)]
    dice.shuffle(victims)
    at_most = [dice.randint(AMID + 10, 5 * AMID) for _ in victims]
    return Plan([dice.choice(MIX) for _ in range(orders)], victims, at_most)


def place_and_maybe_cancel(shop: ShopConnection, outcome: Outcome) -> Placed:
    placed = place(shop, outcome)
    if outcome is not CANCELLED:
        return placed
    if cancel(shop, placed.order_id):
        return replace(placed, or_else=(CANCELLED_WITH_STOCK,))
    return replace(placed, outcome=replace(HAPPY, customer_id=CANCELLED.customer_id))


def under_way(shop: ShopConnection, threads: ThreadPoolExecutor, placing: list[Future[Placed]], at_most: int) -> int:
    """Return how many orders are under way if that suits a kill, else 0; place some more than are needed where the plan's are too few."""
    found = len(unfinished(shop))
    if found < AMID and all(each.done() for each in placing):
        placing += [threads.submit(place_and_maybe_cancel, shop, HAPPY) for _ in range(AMID + 10 - found)]
    return found if AMID <= found <= at_most else 0


def run_chaos(stack: Stack, shop: ShopConnection, wanted: Plan) -> tuple[list[Placed], list[int]]:
    """Place the orders and kill the victims. Return the orders, and how many were under way at each kill.

    Where too few are under way for the next kill, more than the plan's orders are placed; where too many, some are let come to their
    end, so that kills meet services at work and not only services that still wait for the one killed before.
    """
    amid: list[int] = []
    placing: list[Future[Placed]] = []
    with ThreadPoolExecutor(24) as threads:
        for number, (service, which) in enumerate(wanted.victims):
            placing += [threads.submit(place_and_maybe_cancel, shop, outcome) for outcome in wanted.share(number)]
            address = stack.instance(service, which).address
            eventually(lambda: is_serving(address), 60, every_seconds=0.05)  # noqa: B023 - called before the next turn
            amid.append(eventually(partial(under_way, shop, threads, placing, wanted.at_most[number]), 120))
            assert stack.kill(service, which) == -signal.SIGKILL
            stack.restart(service, which, wait=False)
        return [future.result() for future in placing], amid


def charged_twice(stack: Stack) -> list[tuple[str, str, int]]:
    """Return every order and kind of call that the payment gateway's own books hold more than once."""
    with psycopg.connect(stack.instance("payment").store_url) as books:
        return books.execute(
            "SELECT order_id, kind, count(*) FROM external_ledger WHERE outcome = 'done' GROUP BY order_id, kind HAVING count(*) > 1"
        ).fetchall()


def messages_by_order(stack: Stack) -> dict[str, list[Seen]]:
    """Return the messages of each order, each once: a killed relay may have published one again, under its own id."""
    once = {(seen.topic, seen.id): seen for seen in read_all(stack.bootstrap, topic_names()) if seen.topic != "item.changed"}
    found: dict[str, list[Seen]] = {}
    for seen in once.values():
        found.setdefault((seen.key or b"").decode(), []).append(seen)
    return found


def told_unfit(messages: list[Seen], outcome: Outcome) -> list[str]:
    """Return where the facts told of an order are not each told once, in sequence; commands and answers may have come again."""
    facts = [seen for seen in messages if seen.topic.startswith(("order.", "shipping.", "notification."))]
    rest = [name for name in outcome.messages if name not in outcome.events]
    return messages_unfit([*facts, *(seen for seen in first_of_type(messages) if seen.type in rest)], outcome)


def first_of_type(messages: list[Seen]) -> list[Seen]:
    return list({seen.type: seen for seen in reversed(messages)}.values())


def in_books(stack: Stack, shop: ShopConnection, placed: list[Placed], before: Mapping[str, Stock]) -> None:
    """Assert that money and stock are conserved, and that nothing was charged, given back or told twice."""
    shipped, charged, refunded, kept = Counter[str](), 0, 0, 0
    with ThreadPoolExecutor(16) as threads:
        all_books = list(threads.map(lambda each: read_books(shop, each.order_id), placed))
    for each, books in zip(placed, all_books, strict=True):
        assert books.payment is not None
        charged += books.payment.charged.minor_units
        refunded += books.payment.refunded.minor_units
        if books.order.status == OrderStatus.ORDER_STATUS_COMPLETED:
            kept += books.order.total_amount.minor_units
            shipped[each.outcome.item_id] += each.outcome.quantity
    assert kept > 0
    assert refunded > 0
    assert charged == kept + refunded
    assert stock_unfit(before, stock(shop), shipped) == []
    assert charged_twice(stack) == []
    sent = {(seen.topic, seen.id): seen for seen in read_all(stack.bootstrap, ["notification.sent"])}
    ids = [NotificationSentEvent.FromString(seen.value or b"").notification_id for seen in sent.values()]
    assert len(set(ids)) == len(ids)
    assert count_all(stack.bootstrap, topic_names(dead_letters=True)) == 0


def in_messages(stack: Stack, placed: list[Placed], unfit: Callable[[list[Seen], Outcome], list[str]]) -> None:
    """Assert that the topics hold, of each order, the messages of its outcome."""
    messages = messages_by_order(stack)
    for each in placed:
        faults = [unfit(messages[each.order_id], outcome) for outcome in (each.outcome, *each.or_else)]
        assert [] in faults, f"{each.outcome.name} {each.order_id}: {faults}"
    assert messages.keys() == {each.order_id for each in placed}


def size(name: str, default: int) -> int:
    return int(os.environ.get(f"MILLRACE_CHAOS_{name}") or default)


def test_services_killed_amid_orders_lose_nothing_and_do_nothing_twice(
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
    seed: int,
) -> None:
    begun = time.monotonic()
    env = {**quick_settings, "payment": {**quick_settings["payment"], **GATEWAY}}
    stack = shop_stack(store="postgresql", instances=dict.fromkeys(SERVICES, INSTANCES), env=env)
    shop = connect(stack)
    before = stock(shop)
    wanted = plan(seed, size("ORDERS", 400), size("KILLS", 30), INSTANCES)
    placed, amid = run_chaos(stack, shop, wanted)
    print(
        f"{len(placed)} orders, {len(amid)} kills, each amid {min(amid)} to {max(amid)} orders; {time.monotonic() - begun:.0f} s"
    )
    wait_settled(shop, placed, within_seconds=150)
    print(f"all at their end after {time.monotonic() - begun:.0f} s")
    assert len(placed) >= len(wanted.outcomes)
    assert len(amid) == len(wanted.victims)
    assert min(amid) >= AMID
    in_books(stack, shop, placed, before)
    in_messages(stack, placed, messages_unfit)


def test_sagas_that_ask_again_amid_kills_have_nothing_done_twice(
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
    seed: int,
) -> None:
    impatient = {"ORDER_SAGA_ANSWER_SECONDS": "0.8", "ORDER_SAGA_ATTEMPTS": "10"}
    env = {**quick_settings, "order": impatient, "payment": {**quick_settings["payment"], **GATEWAY}}
    stack = shop_stack(store="postgresql", env=env)
    shop = connect(stack)
    before = stock(shop)
    placed, _ = run_chaos(stack, shop, plan(seed, 100, 6, 1))
    wait_settled(shop, placed, within_seconds=90)
    in_books(stack, shop, placed, before)
    in_messages(stack, placed, told_unfit)
    charges = Counter(seen.key for seen in read_all(stack.bootstrap, ["payment.request"]) if seen.type == "ChargePaymentCommand")
    assert max(charges.values()) > 1, "no saga asked again, so nothing was tested"
