"""What is known of an order does not depend on the order in which its messages come."""

from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from analytics_service.domain.timeline import MOST_MESSAGES
from shopkit.testing.bench import Bench

HAPPY = ("created", "confirmed", "scheduled", "completed", "delivered")
FACT = "SELECT status, currency, amount_minor, is_delayed, duration, shipping, messages FROM order_fact"


@pytest.mark.parametrize("order", list(permutations(HAPPY))[::17])
def test_the_fact_is_the_same_whatever_the_order(bench: Bench, about: Any, order: tuple[str, ...]) -> None:
    messages = about(str(uuid4()))
    for name in order:
        bench.hear(messages[name])
    assert bench.rows(FACT) == [("completed", "EUR", 500, 0, 2_000_000, "delivered", 5)]


def test_a_batch_of_all_messages_adds_up_as_one_by_one(bench: Bench, about: Any) -> None:
    bench.hear(*(about(order_id)[name] for name in HAPPY for order_id in (str(uuid4()), str(uuid4()))))
    assert len(bench.rows("SELECT 1 FROM order_fact")) == 4 + 6


def test_a_message_delivered_again_is_recorded_once(bench: Bench, about: Any) -> None:
    records = [bench.record(about(str(uuid4()))["created"])] * 3
    bench.deliver(*records)
    bench.deliver(*records)
    assert bench.rows("SELECT messages FROM order_fact") == [(1,)]
    assert len(bench.rows("SELECT 1 FROM event")) == 1


def test_a_message_whose_id_the_library_forgot_is_still_recorded_once(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    records = [bench.record(messages[name]) for name in HAPPY]
    bench.deliver(*records)
    bench.rows("DELETE FROM message_id")
    bench.deliver(*records)
    assert bench.rows(FACT) == [("completed", "EUR", 500, 0, 2_000_000, "delivered", 5)]
    assert len(bench.rows("SELECT 1 FROM event")) == 5


def test_no_order_has_messages_without_end(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    bench.hear(messages["created"], *[messages["scheduled"]] * MOST_MESSAGES)
    assert bench.rows("SELECT messages FROM order_fact") == [(MOST_MESSAGES,)]
    assert [message.topic for message in bench.sent()] == ["shipping.scheduled.dlt"]


def test_a_snapshot_from_before_ids_were_kept_is_not_trusted(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    records = [bench.record(messages[name]) for name in ("created", "confirmed")]
    bench.deliver(*records)
    bench.rows("DELETE FROM message_id")
    bench.rows('UPDATE stream SET snapshot_version = 1, state = \'{"order_id": "x", "messages": 2}\'')
    bench.deliver(records[0])
    bench.hear(messages["completed"])
    assert bench.rows("SELECT messages FROM order_fact") == [(3,)]
    assert len(bench.rows("SELECT 1 FROM event")) == 3


def test_a_final_status_heard_first_stands_against_what_comes_late(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()), reason="out of stock")
    bench.hear(messages["cancelled"])
    bench.hear(messages["confirmed"], messages["created"])
    assert bench.rows("SELECT status, reason, duration FROM order_fact") == [("cancelled", "out of stock", 2_000_000)]


def test_of_two_messages_with_one_sequence_the_first_stands(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    bench.hear(messages["created"], messages["completed"], messages["cancelled"])
    assert bench.rows(FACT) == [("completed", "EUR", 500, 0, 2_000_000, None, 3)]


def test_an_order_under_way_has_no_duration(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    bench.hear(messages["created"], messages["confirmed"])
    assert bench.rows("SELECT status, duration FROM order_fact") == [("confirmed", None)]


def test_an_order_that_ended_before_it_began_by_clocks_that_differ_took_no_time(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()), seconds=-1)
    bench.hear(messages["created"], messages["completed"])
    assert bench.rows("SELECT duration FROM order_fact") == [(0,)]


def test_shipping_heard_before_the_order_waits_for_it(bench: Bench, about: Any) -> None:
    messages = about(str(uuid4()))
    bench.hear(messages["delivered"])
    assert bench.rows("SELECT status, shipping FROM order_fact") == [(None, "delivered")]
    bench.hear(messages["created"], messages["scheduled"])
    assert bench.rows("SELECT status, shipping FROM order_fact") == [("pending", "delivered")]


def test_nothing_is_published_but_dead_letters(bench: Bench, about: Any) -> None:
    good, bad = about(str(uuid4())), about("7")
    bench.hear(*good.values(), bad["created"], bad["scheduled"])
    assert {message.topic for message in bench.sent()} == {"order.created.dlt"}
    bench.hear(about("8")["scheduled"])
    assert [message.topic for message in bench.sent()] == ["shipping.scheduled.dlt"]
