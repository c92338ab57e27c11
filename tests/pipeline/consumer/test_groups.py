"""Members of a group come and go, under both group protocols: nothing is lost, done twice or out of order, and a static member's return
moves nobody else."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from millrace.testing.waiting import eventually
from shopkit.testing.records import Seen, read_all

pytestmark = pytest.mark.timeout(240)

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@PROTOCOLS
def test_a_storm_of_rebalances_with_slow_handlers_leaves_no_gap_and_keeps_order(
    start: Callable[..., Any], postgres_url: Callable[[], str], protocol: str
) -> None:
    running = start(postgres_url(), 6)
    running.kafka = replace(running.kafka, group_protocol=protocol)
    world, dice = running.world, random.Random(848)

    def slowly(body: Any, states: Any, context: Any) -> Any:
        time.sleep(0.005)
        return world.charge(body, states, context)

    world.scripts["slow"] = slowly
    accounts = [f"a{n}" for n in range(24)]
    messages = [world.message(accounts[n % 24], does="slow") for n in range(960)]
    running.relay()
    members = [running.consumer(max_batch=20)]
    for turn in range(12):
        running.send(*messages[80 * turn : 80 * (turn + 1)])
        reached = len(running.notes(*accounts))
        if len(members) < 2 or (len(members) < 4 and dice.random() < 0.5):
            members.append(running.consumer(max_batch=20))
        else:
            running.stop(members.pop(dice.randrange(len(members))))
        eventually(lambda: len(running.notes(*accounts)) > reached, 60)  # noqa: B023 - called before the next turn
    running.has(messages, *accounts)
    eventually(lambda: world.outbox() == [], 60, lambda: len(world.outbox()))
    published: dict[bytes | None, list[Seen]] = {}
    for seen in read_all(running.kafka.bootstrap, [running.results]):
        published.setdefault(seen.key, []).append(seen)
    assert {key: [seen.text("ce_sequence") for seen in of_key] for key, of_key in published.items()} == {
        account.encode(): [str(n) for n in range(1, 41)] for account in accounts
    }


@PROTOCOLS
def test_a_static_member_started_again_gets_its_partitions_back_and_no_others_move(
    start: Callable[..., Any], postgres_url: Callable[[], str], protocol: str
) -> None:
    running = start(postgres_url(), 4)
    ordinary = replace(running.kafka, group_protocol=protocol, session_timeout_seconds=30.0)

    def member(name: str) -> Any:
        running.kafka = replace(ordinary, group_instance_id=f"{running.group}-{name}")
        return running.consumer()

    first, second = member("first"), member("second")
    eventually(lambda: len(first._assignment.held) == len(second._assignment.held) == 2, 60)
    of_first, of_second = set(first._assignment.held), dict(second._assignment.held)
    running.stop(first)
    again = member("first")
    eventually(lambda: set(again._assignment.held) == of_first, 25, lambda: set(again._assignment.held))
    assert second._assignment.held == of_second
    messages = [running.world.message(f"a{n}") for n in range(8)]
    running.send(*messages)
    running.has(messages, *(f"a{n}" for n in range(8)))


@PROTOCOLS
def test_a_member_fenced_by_another_of_its_name_says_so(
    start: Callable[..., Any], postgres_url: Callable[[], str], protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = start(postgres_url())
    running.kafka = replace(running.kafka, group_protocol=protocol, group_instance_id=f"{running.group}-same")
    first = running.consumer()
    eventually(lambda: first._assignment.held, 60)
    running.consumer()
    eventually(lambda: "consumer starts over" in caplog.messages, 60, lambda: caplog.messages)
    assert any("instance" in str(record.exc_info) for record in caplog.records), caplog.messages
