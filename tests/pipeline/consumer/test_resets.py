"""Kafka's committed offset moves a group only where its metadata orders a reset, once; a reset undoes no deduplication."""

import logging
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millrace.pipeline.claiming import RESET
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def duplicates(running: Any) -> float:
    """Return how many messages the group was shown again and left out."""
    labels = {"group": running.group, "outcome": "duplicate"}
    return REGISTRY.get_sample_value("millrace_pipeline_messages_total", labels) or 0.0


def read_three(running: Any) -> list[Any]:
    """Have the group read three messages, and stop."""
    messages = [running.world.message("a") for _ in range(3)]
    running.send(*messages)
    running.consumer()
    running.has(messages, "a")
    eventually(lambda: running.committed() == 3, 30, running.committed)
    running.stop()
    return messages


def test_a_reset_to_a_later_offset_skips_what_lies_before_it(running: Any) -> None:
    messages = read_three(running)
    skipped, read = running.world.message("a"), running.world.message("a")
    running.send(skipped, read)
    running.set_committed(4, f"{RESET}first")
    running.consumer()
    running.has([*messages, read], "a")


def test_a_reset_to_an_earlier_offset_does_nothing_twice(running: Any) -> None:
    messages = read_three(running)
    running.set_committed(0, f"{RESET}first")
    before = duplicates(running)
    running.consumer()
    last = running.world.message("a")
    running.send(last)
    running.has([*messages, last], "a")
    assert len(running.world.model()) == 4
    assert duplicates(running) - before == 3


def test_a_reset_counts_once_even_if_its_offset_is_committed_again(running: Any) -> None:
    messages = read_three(running)
    skipped, read = running.world.message("a"), running.world.message("a")
    running.send(skipped, read)
    running.set_committed(4, f"{RESET}first")
    running.consumer()
    running.has([*messages, read], "a")
    running.stop()
    last = [running.world.message("a") for _ in range(2)]
    running.send(*last)
    running.set_committed(6, f"{RESET}first")
    running.consumer()
    running.has([*messages, read, *last], "a")


def test_an_offset_changed_by_hand_is_ignored_and_told_of(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    messages = read_three(running)
    running.set_committed(0)
    with caplog.at_level(logging.WARNING):
        running.consumer()
        last = running.world.message("a")
        running.send(last)
        running.has([*messages, last], "a")
    assert "an offset changed without a reset's id is ignored" in caplog.messages


def test_the_groups_own_commits_are_no_change_by_hand(running: Any, caplog: pytest.LogCaptureFixture) -> None:
    messages = read_three(running)
    with caplog.at_level(logging.WARNING):
        running.consumer()
        last = running.world.message("a")
        running.send(last)
        running.has([*messages, last], "a")
    assert not [message for message in caplog.messages if "offset" in message]
