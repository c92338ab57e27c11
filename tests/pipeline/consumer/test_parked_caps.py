"""Too much parked: reading stops where failing messages come from, and goes on once there is room."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millrace.errors import TransientError
from millrace.partitioner import partition_for
from millrace.pipeline.failures import RetryPolicy
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)
STOPS = "too much is parked, reading stops"


@pytest.fixture
def mend(running_two: Any) -> Callable[[], None]:
    """Let messages marked "fail" raise from now on; return what mends them."""
    world = running_two.world

    def fail(body: Any, states: Any, context: Any) -> Any:
        raise TransientError("not yet")

    world.scripts["fail"] = fail
    return lambda: world.scripts.pop("fail")


@pytest.fixture
def running_two(start: Callable[..., Any], tmp_path: Any) -> Any:
    running = start(f"sqlite:///{tmp_path}/store.db", 2)
    running.world.retry = RetryPolicy(1000, timedelta(milliseconds=50), timedelta(milliseconds=200))
    return running


def parked(world: Any) -> int:
    return len(world.parked())


def crowded(running: Any) -> float | None:
    """Return how many partitions the metrics show as not read for a key of theirs."""
    return REGISTRY.get_sample_value("millrace_crowded_partitions", {"group": running.group})


def keys_by_partition(running: Any) -> tuple[str, str]:
    """Return a key of each of the two partitions."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(partition_for(f"k{number}".encode(), 2), f"k{number}")
    return found[0], found[1]


def test_a_key_with_too_much_parked_stops_its_own_partition_only(
    running_two: Any, mend: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    running, world = running_two, running_two.world
    bad, good = keys_by_partition(running)
    running.consumer(max_parked_per_key=10)
    failing = [world.message(bad, does="fail"), *(world.message(bad) for _ in range(11))]
    running.send(*failing)
    eventually(lambda: STOPS in caplog.messages, 60, lambda: parked(world))
    running.send(*(held := [world.message(bad) for _ in range(20)]))
    running.send(*(flowing := [world.message(good) for _ in range(20)]))
    running.has(flowing, good)
    assert parked(world) == 12
    assert crowded(running) == 1
    mend()
    running.has([*failing, *held], bad)
    assert parked(world) == 0
    eventually(lambda: crowded(running) == 0, 20, lambda: crowded(running))


def test_too_much_parked_in_all_stops_every_partition(
    running_two: Any, mend: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    running, world = running_two, running_two.world
    bad, good = keys_by_partition(running)
    running.consumer(max_parked=3)
    failing = [world.message(bad, does="fail"), *(world.message(bad) for _ in range(3))]
    running.send(*failing)
    eventually(lambda: STOPS in caplog.messages, 60, lambda: parked(world))
    running.send(*(later := [world.message(good) for _ in range(3)]))
    eventually(lambda: world.parked()[0][2] > 3, 60)
    assert world.notes(good) == []
    mend()
    running.has([*failing, *later], bad, good)
