"""A service that does more than record cannot be made anew from its topics: what it published would be said again."""

from typing import Any

import pytest

from millrace.decision import Handlers
from millrace.errors import NotFound, Refused
from millrace.rebuild.rebuildable import Rebuildable
from millrace.rebuild.records import rebuild_records


def plan_of(running: Any, topic: str) -> Rebuildable:
    engine = running.engine()
    return Rebuildable(running.group, Handlers([running.world.ACCOUNTS], engine._handlers), (), running.registry, (topic,))


def test_a_service_that_publishes_is_refused_and_left_as_it_was(running: Any) -> None:
    messages = [running.world.message("a") for _ in range(3)]
    running.send(*messages)
    running.consumer()
    running.has(messages, "a")
    running.stop()
    with pytest.raises(Refused, match="rows in outbox"):
        rebuild_records(running.world.store, running.kafka, plan_of(running, running.requests))
    assert running.notes("a") == [message.id for message in messages]
    assert len(running.world.outbox()) == 3


def test_a_topic_that_is_missing_is_named(running: Any) -> None:
    with pytest.raises(NotFound, match="topic"):
        rebuild_records(running.world.store, running.kafka, plan_of(running, f"{running.requests}.missing"))
