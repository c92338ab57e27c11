"""Whatever comes, in whatever order: no piece appears or is lost."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from inventory_service.application.set_item import SeedItem
from inventory_service.bootstrap import parts
from shop.inventory.v1.inventory_messages_pb2 import ReleaseStockCommand, ReserveStockCommand, ShipStockCommand, StockLine
from shopkit.testing.bench import Bench

ORDERS = [str(UUID(int=number, version=4)) for number in range(3)]
ITEMS = {"a": 5, "b": 3}
lines = st.lists(
    st.builds(lambda item, count: StockLine(item_id=item, quantity=count), st.sampled_from([*ITEMS, "none"]), st.integers(1, 4)),
    min_size=1,
    max_size=3,
)
order = st.sampled_from(ORDERS)
commands = st.lists(
    st.lists(
        st.one_of(
            st.builds(lambda o, items: ReserveStockCommand(order_id=o, items=items), order, lines),
            st.builds(lambda o: ReleaseStockCommand(order_id=o), order),
            st.builds(lambda o: ShipStockCommand(order_id=o), order),
        ),
        min_size=1,
        max_size=5,
    ),
    max_size=8,
)


@given(commands)
@settings(max_examples=60, deadline=None)
def test_the_sum_of_on_hand_reserved_and_shipped_never_changes(batches: list[list[ReserveStockCommand]]) -> None:
    seed = tuple(SeedItem(name, name, "EUR", 1, count) for name, count in ITEMS.items())
    with Bench(parts(seed)) as bench:
        bench.prepare()
        for batch in batches:
            bench.hear(*batch)
            rows = bench.rows("SELECT item_id, on_hand, reserved, shipped FROM item")
            assert {name: sum(counts) for name, *counts in rows} == ITEMS
            assert all(count >= 0 for _, *counts in rows for count in counts)
