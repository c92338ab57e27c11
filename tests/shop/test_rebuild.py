"""`millrace rebuild analytics` on a running shop: what analytics answers is as before, though its tables were falsified."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from devkit.stack import Stack
from millrace.store.open import open_store
from millrace.testing.waiting import eventually
from shop.analytics.v1.analytics_service_pb2 import GetSagaStatsRequest, GetSummaryRequest
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import place, wait_settled
from shopkit.testing.outcomes import DECLINED, HAPPY
from shopkit.testing.records import all_read

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


def millrace(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("millrace")), *words]
    environment = {**os.environ, "MILLRACE_KAFKA_BOOTSTRAP": stack.bootstrap}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def falsify(url: str, *statements: str) -> None:
    store = open_store(url)
    session = store.session()
    with session.transaction() as tx:
        for statement in statements:
            tx.sql.execute(statement)
    session.close()
    store.close()


def test_the_command_makes_analytics_and_a_read_model_anew_while_they_run(
    shop_stack: Callable[..., Stack],
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> None:
    stack = shop_stack(env=quick_settings)
    shop = connect(stack)
    wait_settled(shop, [place(shop, outcome) for outcome in (HAPPY, DECLINED)], within_seconds=60)
    eventually(lambda: all_read(stack.bootstrap), 60)

    def answers() -> tuple[object, object]:
        summary = shop.analytics.GetSummary(GetSummaryRequest())
        summary.ClearField("as_of")  # when the last message was recorded, which is later now
        return summary, shop.analytics.GetSagaStats(GetSagaStatsRequest())

    before = answers()
    analytics, order = (stack.instance(service).store_url for service in ("analytics", "order"))
    falsify(analytics, "UPDATE order_fact SET status = 'pending'", "DELETE FROM event WHERE version > 1")
    assert answers() != before
    made = millrace(stack, "rebuild", "analytics", "--store", analytics, "--yes")
    assert made.returncode == 0, made.stderr
    assert "rebuilt from" in made.stdout
    assert answers() == before

    falsify(order, "DELETE FROM order_view")
    made = millrace(stack, "rebuild", "order", "--store", order, "--yes")
    assert made.returncode == 0, made.stderr
    third = place(shop, HAPPY)
    wait_settled(shop, [third], within_seconds=60)
    eventually(lambda: shop.analytics.GetSummary(GetSummaryRequest()).orders == 3, 60)
