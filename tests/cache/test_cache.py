"""A cache is bounded in entries and age, and what it was told has changed does not come back."""

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from millrace.cache import Cache


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> Cache[str, str]:
    return Cache("test", most=3, keep_seconds=10, clock=time)


@pytest.fixture
def counted() -> Callable[[], dict[str, float]]:
    """Give what the metrics have grown by since the test began."""

    def read() -> dict[str, float]:
        lookups = {outcome: {"cache": "test", "outcome": outcome} for outcome in ("hit", "miss")}
        found = {
            outcome: REGISTRY.get_sample_value("millrace_cache_requests_total", labels) for outcome, labels in lookups.items()
        }
        found["changes"] = REGISTRY.get_sample_value("millrace_cache_changes_total", {"cache": "test"})
        return {name: value or 0.0 for name, value in found.items()}

    before = read()
    return lambda: {name: value - before[name] for name, value in read().items()}


def test_a_value_is_remembered_for_its_time_and_no_longer(cache: Cache[str, str], time: Time) -> None:
    cache.put("a", "A", 1)
    time.now = 9.9
    assert cache.get("a") == "A"
    time.now = 10.0
    assert cache.get("a") is None


def test_of_too_many_the_one_used_least_recently_goes(cache: Cache[str, str]) -> None:
    for key in "abc":
        cache.put(key, key.upper(), 1)
    assert cache.get("a") == "A"
    cache.put("d", "D", 1)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]


def test_a_change_forgets_what_is_older_and_takes_nothing_older(cache: Cache[str, str]) -> None:
    cache.put("a", "old", 1)
    cache.changed("a", 3)
    assert cache.get("a") is None
    cache.put("a", "older than the change", 2)
    assert cache.get("a") is None
    cache.put("a", "new", 3)
    assert cache.get("a") == "new"


def test_a_change_that_is_known_forgets_nothing(cache: Cache[str, str]) -> None:
    cache.put("a", "A", 3)
    cache.changed("a", 3)
    cache.changed("a", 2)
    assert cache.get("a") == "A"


def test_a_later_value_is_not_replaced_by_an_earlier_one(cache: Cache[str, str]) -> None:
    cache.put("a", "second", 2)
    cache.put("a", "first", 1)
    assert cache.get("a") == "second"


def test_changes_count_as_entries_and_are_bounded_too(cache: Cache[str, str]) -> None:
    for key in "abcd":
        cache.changed(key, 2)
    assert REGISTRY.get_sample_value("millrace_cache_entries", {"cache": "test"}) == 3
    cache.put("a", "A", 1)
    assert cache.get("a") == "A"


def test_a_cleared_cache_remembers_nothing(cache: Cache[str, str]) -> None:
    cache.put("a", "A", 1)
    cache.changed("b", 5)
    cache.clear()
    cache.put("b", "B", 1)
    assert (cache.get("a"), cache.get("b")) == (None, "B")


def test_hits_misses_and_changes_are_counted(cache: Cache[str, str], counted: Callable[[], dict[str, float]]) -> None:
    cache.get("a")
    cache.put("a", "A", 1)
    cache.get("a")
    cache.get("a")
    cache.changed("a", 2)
    cache.changed("a", 2)
    cache.get("a")
    assert counted() == {"hit": 2, "miss": 2, "changes": 1}
