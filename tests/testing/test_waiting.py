"""What tests wait with."""

from datetime import UTC, datetime, timedelta

import pytest

from millrace.testing.clock import SkippingClock
from millrace.testing.waiting import eventually


def test_the_value_that_came_true_is_returned() -> None:
    values = iter([0, 0, 7])
    assert eventually(lambda: next(values)) == 7


def test_a_failure_says_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s; last seen: '3 of 5'"):
        eventually(lambda: False, 0.05, lambda: "3 of 5")


def test_an_assertion_in_the_condition_is_waited_out_and_told() -> None:
    def check() -> bool:
        raise AssertionError("only two came")

    with pytest.raises(AssertionError, match="only two came"):
        eventually(check, 0.05)


def test_the_clock_moves_only_when_told() -> None:
    clock = SkippingClock(datetime(2026, 5, 1, tzinfo=UTC))
    clock.skip(timedelta(hours=1))
    assert clock() == clock() == datetime(2026, 5, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="back"):
        clock.skip(timedelta(seconds=-1))
