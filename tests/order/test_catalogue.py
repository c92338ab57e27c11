"""The catalogue follows inventory: the latest change of an item stands, and one that cannot be is a dead letter."""

from typing import Any

import pytest

from millrace.errors import PermanentError
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench

ITEMS = "SELECT item_id, name, price_minor, sequence FROM catalogue_view"


def changed(sequence: int, price_minor: int, currency: str = "EUR") -> ItemChangedEvent:
    price = Money(currency=currency, minor_units=price_minor)
    return ItemChangedEvent(item_id="mug", name=f"Mug {sequence}", price=price, active=True, sequence=sequence)


@pytest.mark.parametrize("sequences", [(1, 2, 3), (3, 2, 1), (3, 1, 2), (2, 3, 3)])
def test_the_latest_change_stands_in_whatever_order_they_come(bench: Bench, sequences: tuple[int, ...]) -> None:
    for sequence in sequences:
        bench.hear(changed(sequence, 100 * sequence))
    assert bench.rows(ITEMS) == [("mug", "Mug 3", 300, 3)]


@pytest.mark.parametrize(
    "body", [changed(0, 100), changed(-1, 100), changed(2, -1), changed(2, 100, "EURO"), changed(2, 100, "")]
)
def test_a_change_that_cannot_be_is_a_dead_letter_and_changes_nothing(bench: Bench, body: Any) -> None:
    bench.hear(changed(1, 100))
    [result] = bench.hear(body)
    assert result is not None
    assert isinstance(result.error, PermanentError)
    assert [message.topic for message in bench.sent()] == ["item.changed.dlt"]
    assert bench.rows(ITEMS) == [("mug", "Mug 1", 100, 1)]
