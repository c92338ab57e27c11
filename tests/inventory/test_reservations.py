"""What becomes of reserve, release and ship commands: each answered, each once, in whatever order."""

from datetime import timedelta
from uuid import uuid4

import pytest

from millrace.edge.validation import INT32_MAX
from shop.inventory.v1.inventory_messages_pb2 import (
    ReleaseStockCommand,
    ReserveStockCommand,
    ShipStockCommand,
    StockLine,
    StockReleasedEvent,
    StockReservedEvent,
    StockShippedEvent,
    StockShortEvent,
)
from shopkit.testing.bench import Bench, type_names


def reserve(order_id: str, *lines: tuple[str, int]) -> ReserveStockCommand:
    items = [StockLine(item_id=item_id, quantity=quantity) for item_id, quantity in lines]
    return ReserveStockCommand(order_id=order_id, items=items)


def stock(bench: Bench, item_id: str) -> tuple[int, int, int]:
    found = [row[1:] for row in bench.rows("SELECT item_id, on_hand, reserved, shipped FROM item") if row[0] == item_id]
    return tuple(found[0])


@pytest.fixture
def order_id() -> str:
    return str(uuid4())


def test_a_reservation_moves_pieces_from_hand_to_reserved_and_says_so(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 3), ("rare-vase", 1)))
    (sent,) = bench.sent()
    assert sent.topic == "inventory.result"
    answer = sent.body(StockReservedEvent)
    assert [(line.item_id, line.quantity) for line in answer.lines] == [("mug", 3), ("rare-vase", 1)]
    assert (stock(bench, "mug"), stock(bench, "rare-vase")) == ((7, 3, 0), (1, 1, 0))


def test_shipping_moves_reserved_pieces_out(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 3)))
    bench.hear(ShipStockCommand(order_id=order_id))
    shipped = bench.sent()[-1].body(StockShippedEvent)
    assert [(line.item_id, line.quantity) for line in shipped.lines] == [("mug", 3)]
    assert stock(bench, "mug") == (7, 0, 3)


def test_a_release_puts_pieces_back(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 3)))
    bench.hear(ReleaseStockCommand(order_id=order_id))
    released = bench.sent()[-1].body(StockReleasedEvent)
    assert [(line.item_id, line.quantity) for line in released.lines] == [("mug", 3)]
    assert stock(bench, "mug") == (10, 0, 0)


def test_all_steps_of_an_order_may_come_in_one_batch(bench: Bench, order_id: str) -> None:
    other = str(uuid4())
    bench.hear(
        reserve(order_id, ("mug", 3)),
        reserve(other, ("mug", 2)),
        ShipStockCommand(order_id=order_id),
        ReleaseStockCommand(order_id=other),
    )
    assert type_names(bench.sent()) == ["StockReservedEvent", "StockReservedEvent", "StockShippedEvent", "StockReleasedEvent"]
    assert stock(bench, "mug") == (7, 0, 3)


def test_one_short_line_refuses_the_whole_reservation(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 1), ("rare-vase", 3), ("unicorn", 1)))
    answer = bench.sent()[0].body(StockShortEvent)
    assert [(s.item_id, s.requested, s.available) for s in answer.short] == [("rare-vase", 3, 2), ("unicorn", 1, 0)]
    assert stock(bench, "mug") == (10, 0, 0)


def test_lines_of_one_item_are_added_up(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("rare-vase", 1), ("rare-vase", 2)))
    answer = bench.sent()[0].body(StockShortEvent)
    assert [(s.item_id, s.requested, s.available) for s in answer.short] == [("rare-vase", 3, 2)]
    bench.hear(reserve(str(uuid4()), ("rare-vase", 1), ("rare-vase", 1)))
    assert len(bench.sent()[0].body(StockReservedEvent).lines) == 2
    assert stock(bench, "rare-vase") == (0, 2, 0)


def test_more_pieces_than_a_message_can_name_are_short(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", INT32_MAX), ("mug", INT32_MAX)))
    answer = bench.sent()[0].body(StockShortEvent)
    assert [(s.item_id, s.requested, s.available) for s in answer.short] == [("mug", INT32_MAX, 10)]


def test_a_release_of_what_was_short_puts_nothing_back(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("rare-vase", 3)), ReleaseStockCommand(order_id=order_id))
    assert not bench.sent()[1].body(StockReleasedEvent).lines
    assert stock(bench, "rare-vase") == (2, 0, 0)


def test_a_reservation_asked_for_again_after_its_stock_left_is_still_one(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 3)))
    first = bench.sent()
    bench.hear(ShipStockCommand(order_id=order_id), reserve(order_id, ("mug", 3)))
    assert bench.sent()[1].payload == first[0].payload
    assert stock(bench, "mug") == (7, 0, 3)


def test_the_last_piece_goes_to_one_order_only_within_a_batch(bench: Bench) -> None:
    bench.hear(reserve(str(uuid4()), ("rare-vase", 2)), reserve(str(uuid4()), ("rare-vase", 1)))
    assert type_names(bench.sent()) == ["StockReservedEvent", "StockShortEvent"]
    assert stock(bench, "rare-vase") == (0, 2, 0)


def test_each_command_repeated_gets_the_same_answer_again(bench: Bench, order_id: str) -> None:
    short, early = str(uuid4()), str(uuid4())
    for command in (
        reserve(order_id, ("mug", 3)),
        ShipStockCommand(order_id=order_id),
        reserve(short, ("rare-vase", 9)),
        ReleaseStockCommand(order_id=short),
        ReleaseStockCommand(order_id=early),
        reserve(early, ("mug", 1)),
    ):
        bench.hear(command)
        first = bench.sent()
        bench.clock.skip(timedelta(minutes=1))
        bench.hear(command)
        again = bench.sent()
        assert [(m.topic, m.payload) for m in again] == [(m.topic, m.payload) for m in first]
    assert stock(bench, "mug") == (7, 0, 3)


def test_a_message_delivered_twice_is_answered_once(bench: Bench, order_id: str) -> None:
    record = bench.record(reserve(order_id, ("mug", 3)))
    bench.deliver(record, record)
    bench.deliver(record)
    assert type_names(bench.sent()) == ["StockReservedEvent"]


def test_a_release_that_comes_first_refuses_the_reservation(bench: Bench, order_id: str) -> None:
    bench.hear(ReleaseStockCommand(order_id=order_id))
    bench.hear(reserve(order_id, ("mug", 1)))
    released, refused = bench.sent()
    assert not released.body(StockReleasedEvent).lines
    assert not refused.body(StockShortEvent).short
    assert stock(bench, "mug") == (10, 0, 0)


def test_what_left_the_warehouse_cannot_be_released_and_nothing_reserved_cannot_ship(bench: Bench, order_id: str) -> None:
    bench.hear(reserve(order_id, ("mug", 1)))
    bench.hear(ShipStockCommand(order_id=order_id))
    bench.hear(ReleaseStockCommand(order_id=order_id))
    bench.hear(ShipStockCommand(order_id=str(uuid4())))
    assert [m.topic for m in bench.sent()[-2:]] == ["inventory.request.dlt"] * 2
    assert stock(bench, "mug") == (9, 0, 1)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], "items: must have from 1"),
        ([("mug", 0)], "items[0].quantity"),
        ([("mug", -5)], "items[0].quantity"),
        ([("", 1)], "items[0].item_id"),
        ([("mug\x00", 1)], "items[0].item_id"),
    ],
)
def test_impossible_content_is_a_dead_letter(bench: Bench, order_id: str, lines: list[tuple[str, int]], fault: str) -> None:
    bench.hear(reserve(order_id, *lines), reserve(str(uuid4()), ("mug", 1)))
    dead, answered = sorted(bench.sent(), key=lambda message: message.topic, reverse=True)
    if dead.topic != "inventory.request.dlt":
        dead, answered = answered, dead
    assert fault in dead.headers["x-millrace-error"]
    assert answered.topic == "inventory.result"


def test_an_order_id_that_is_no_uuid_is_a_dead_letter(bench: Bench) -> None:
    bench.hear(reserve("7", ("mug", 1)), ReleaseStockCommand(order_id="8"), ShipStockCommand(order_id="9"))
    assert {m.topic for m in bench.sent()} == {"inventory.request.dlt"}
