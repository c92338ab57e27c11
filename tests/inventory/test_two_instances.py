"""Two instances on one PostgreSQL decide side by side over the same items, and no piece is lost or promised twice."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from inventory_service.application.set_item import SeedItem
from inventory_service.bootstrap import parts
from shop.inventory.v1.inventory_messages_pb2 import ReleaseStockCommand, ReserveStockCommand, ShipStockCommand, StockLine
from shopkit.testing.bench import Bench, type_names

BATCHES, ORDERS = 8, 6
ITEMS = {f"item-{number}": 100 for number in range(4)} | {"scarce": 10}


def work(bench: Bench) -> None:
    """Reserve for many orders, then ship or release each, a batch each; item order differs from order to order."""
    names = [*ITEMS]
    for turn in range(BATCHES):
        orders = [str(uuid4()) for _ in range(ORDERS)]
        for number, order_id in enumerate(orders):
            picked = names[(turn + number) % 5 :] + names[: (turn + number) % 5]
            lines = [StockLine(item_id=name, quantity=1) for name in picked[:3]]
            bench.hear(ReserveStockCommand(order_id=order_id, items=lines))
        reserved = [row[0] for row in bench.rows("SELECT order_id FROM reservation WHERE status = 'reserved'")]
        mine = [order_id for order_id in orders if order_id in reserved]
        ends = [
            ShipStockCommand(order_id=order_id) if number % 2 else ReleaseStockCommand(order_id=order_id)
            for number, order_id in enumerate(mine)
        ]
        bench.hear(*ends)


def test_two_instances_conserve_stock_and_answer_each_command_once(postgres_url: Callable[[], str]) -> None:
    url = postgres_url()
    seed = tuple(SeedItem(name, name, "EUR", 1, count) for name, count in ITEMS.items())
    with Bench(parts(seed), url) as one, Bench(parts(seed), url) as two:
        one.prepare()
        two.prepare()
        one.sent()
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(work, (one, two)))
        rows = one.rows("SELECT item_id, on_hand, reserved, shipped FROM item")
        assert {name: sum(counts) for name, *counts in rows} == ITEMS
        assert all(count >= 0 for _, *counts in rows for count in counts)
        answers = Counter(type_names(one.sent()))
        assert answers["StockReservedEvent"] + answers["StockShortEvent"] == 2 * BATCHES * ORDERS
        assert answers["StockReleasedEvent"] + answers["StockShippedEvent"] == answers["StockReservedEvent"]
        assert all(reserved == 0 for _, _, reserved, _ in rows)
