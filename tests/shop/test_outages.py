"""Kafka or PostgreSQL killed, away at the start, and back: no process ends, health names what is missing, nothing accepted is lost,
and work goes on by itself."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import pytest

from devkit.services import SERVICES
from devkit.stack import Stack, StackSettings
from millrace.testing.waiting import eventually
from shopkit.testing.connection import ShopConnection, code_of, is_there
from shopkit.testing.driver import place_all, request_for, wait_settled
from shopkit.testing.outcomes import DECLINED, DELAYED, HAPPY, REFUSED, SHORT

pytestmark = pytest.mark.servers

MIX = (HAPPY, DECLINED, DELAYED, HAPPY, REFUSED, SHORT)
ENDS_WITHIN_SECONDS = 15.0


def health(stack: Stack, dependency: str) -> dict[str, bool | None]:
    return {each.name: is_there(each.address, dependency) for each in stack.instances}


def until_health_says(stack: Stack, dependency: str, there: bool) -> None:
    eventually(
        lambda: set(health(stack, dependency).values()) == {there}, 45, lambda: health(stack, dependency), every_seconds=0.2
    )


def pids(stack: Stack) -> dict[str, int]:
    found = {each.name: stack.pid(each.service, each.number) for each in stack.instances}
    for each in stack.instances:
        assert stack.alive(each.service, each.number), f"{each.name} ended"
    return found


@dataclass(frozen=True)
class Running:
    stack: Stack
    shop: ShopConnection


@pytest.fixture(scope="module")
def on_sqlite(
    tmp_path_factory: pytest.TempPathFactory,
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> Iterator[Running]:
    """Give a shop whose broker may be stopped; each test leaves it working."""
    with Stack(StackSettings(folder=tmp_path_factory.mktemp("outages"), env=quick_settings)) as stack:
        yield Running(stack, connect(stack))


@pytest.fixture(scope="module")
def on_postgresql(
    tmp_path_factory: pytest.TempPathFactory,
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> Iterator[Running]:
    """Give a shop whose database server may be stopped; each test leaves it working."""
    with Stack(StackSettings(folder=tmp_path_factory.mktemp("outages"), store="postgresql", env=quick_settings)) as stack:
        yield Running(stack, connect(stack))


def test_a_broker_killed_amid_orders_stops_nothing_and_loses_nothing(on_sqlite: Running) -> None:
    stack, shop, before = on_sqlite.stack, on_sqlite.shop, pids(on_sqlite.stack)
    assert stack.kafka is not None
    until_health_says(stack, "kafka", there=True)
    amid = place_all(shop, MIX * 4)
    stack.kafka.kill()
    during = place_all(shop, MIX)
    until_health_says(stack, "kafka", there=False)
    assert set(health(stack, "database").values()) == {True}
    assert set(health(stack, "").values()) == {True}, "calls can still be answered, so health as a whole stays good"
    stack.kafka.start()
    wait_settled(shop, [*amid, *during], within_seconds=90)
    until_health_says(stack, "kafka", there=True)
    assert pids(stack) == before


def test_services_ended_and_started_without_a_broker_work_once_it_comes(on_sqlite: Running) -> None:
    stack, shop = on_sqlite.stack, on_sqlite.shop
    assert stack.kafka is not None
    stack.kafka.stop()
    unsent = place_all(shop, MIX)
    begun = time.monotonic()
    with ThreadPoolExecutor(len(SERVICES)) as threads:
        ends = dict(zip(SERVICES, threads.map(lambda service: stack.kill(service, sign=signal.SIGTERM), SERVICES), strict=True))
    assert ends == dict.fromkeys(SERVICES, 0)
    assert time.monotonic() - begun < ENDS_WITHIN_SECONDS
    for service in SERVICES:
        stack.restart(service, wait=False)
    stack.wait_serving()
    before = pids(stack)
    until_health_says(stack, "kafka", there=False)
    placed = place_all(shop, MIX)
    stack.kafka.start()
    wait_settled(shop, [*unsent, *placed], within_seconds=90)
    until_health_says(stack, "kafka", there=True)
    assert pids(stack) == before


def test_postgresql_killed_amid_orders_stops_nothing_and_loses_nothing(on_postgresql: Running) -> None:
    stack, shop, before = on_postgresql.stack, on_postgresql.shop, pids(on_postgresql.stack)
    assert stack.postgres is not None
    amid = place_all(shop, MIX * 4)
    stack.postgres.kill()
    with pytest.raises(grpc.RpcError) as refused:
        shop.order.PlaceOrder(request_for(HAPPY), timeout=10)
    assert code_of(refused.value) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    until_health_says(stack, "database", there=False)
    until_health_says(stack, "", there=False)
    assert set(health(stack, "kafka").values()) == {True}
    stack.postgres.start()
    until_health_says(stack, "", there=True)
    behind = place_all(shop, MIX)
    wait_settled(shop, [*amid, *behind], within_seconds=90)
    assert pids(stack) == before


def test_services_killed_and_started_without_postgresql_work_once_it_comes(on_postgresql: Running) -> None:
    stack, shop = on_postgresql.stack, on_postgresql.shop
    assert stack.postgres is not None
    placed = place_all(shop, MIX)
    stack.postgres.kill()
    for service in SERVICES:
        stack.kill(service)
        stack.restart(service, wait=False)
    until_health_says(stack, "database", there=False)
    before = pids(stack)
    assert set(health(stack, "").values()) == {False}
    stack.postgres.start()
    stack.wait_serving()
    wait_settled(shop, [*placed, *place_all(shop, MIX)], within_seconds=90)
    assert pids(stack) == before
