"""SIGTERM amid orders: a service finishes what it has in hand and exits with 0 within a bound, and what is left is done after it came back."""

import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from devkit.services import SERVICES
from devkit.stack import Stack
from millrace.testing.waiting import eventually
from shopkit.testing.books import messages_unfit
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import place, unfinished, wait_settled
from shopkit.testing.outcomes import DECLINED, DELAYED, HAPPY, REFUSED, SHORT
from shopkit.testing.records import Seen, count_all, read_all, topic_names

pytestmark = pytest.mark.servers

MIX = (HAPPY, DECLINED, DELAYED, HAPPY, REFUSED, SHORT, HAPPY, HAPPY)
WITHIN_SECONDS = 15.0


def messages_by_key(stack: Stack) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for seen in read_all(stack.bootstrap, topic_names()):
        found.setdefault((seen.key or b"").decode(), []).append(seen)
    return found


def test_each_service_told_to_end_amid_orders_exits_with_0_and_loses_nothing(
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> None:
    slow = {**quick_settings["payment"], "PAYMENT_GATEWAY_DELAY_MS": "300"}
    stack = shop_stack(env={**quick_settings, "payment": slow})
    shop = connect(stack)
    with ThreadPoolExecutor(12) as threads:
        placing = []
        for service in SERVICES:
            placing += [threads.submit(place, shop, outcome) for outcome in MIX * 2]
            eventually(lambda: len(unfinished(shop)) >= 5, 30, every_seconds=0.02)
            begun = time.monotonic()
            assert stack.kill(service, sign=signal.SIGTERM) == 0, service
            assert time.monotonic() - begun < WITHIN_SECONDS, service
            stack.restart(service, wait=False)
        placed = [future.result() for future in placing]
    wait_settled(shop, placed, within_seconds=60)
    # An end in order leaves nothing to be published twice: each message is there exactly once.
    messages = messages_by_key(stack)
    assert [fault for each in placed for fault in messages_unfit(messages[each.order_id], each.outcome)] == []
    assert count_all(stack.bootstrap, topic_names(dead_letters=True)) == 0
