"""A service killed at any point between effect, outbox, inbox and offset commit loses no message and has each one's effects once."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from devkit import crash_points
from devkit.accounts import Place, booked, charge
from devkit.processes import Children, log_tail
from millrace.kafka.records import record_of
from millrace.message import CAUSATION_ID, Message
from millrace.store.contract import Store
from millrace.testing.waiting import eventually

ACCOUNTS = [f"a{number}" for number in range(3)]


def told(place: Place, count: int, log: Path) -> dict[str, list[str]]:
    """Return which message caused each that was told of an account, in order, once there are `count`; copies of one count once."""
    reader = Consumer(
        {"bootstrap.servers": place.bootstrap, "group.id": f"reader of {place.group}", "auto.offset.reset": "earliest"}
    )
    reader.subscribe([place.results])
    found: dict[str, tuple[str, str]] = {}

    def read() -> bool:
        answer = reader.poll(0.2)
        while answer is not None and answer.error() is None:
            record = record_of(answer)
            headers = {name: (value or b"").decode() for name, value in record.headers}
            found.setdefault(headers["ce_id"], ((record.key or b"").decode(), headers[CAUSATION_ID]))
            answer = reader.poll(0)
        return len(found) >= count

    try:
        eventually(read, 60, lambda: (len(found), log_tail(log)))
    finally:
        reader.close()
    return {account: [cause for key, cause in found.values() if key == account] for account in ACCOUNTS}


@pytest.mark.parametrize(
    "points",
    [crash_points.BATCH, crash_points.OUTCOME, crash_points.OFFSETS, crash_points.RELAY],
    ids=["batch", "outcome of a call", "offsets", "relay"],
)
def test_a_service_killed_at_every_point_loses_nothing_and_has_each_effect_once(
    points: tuple[str, ...],
    url: str,
    new_place: Callable[..., Place],
    new_store: Callable[[Place], Store],
    send: Callable[..., None],
    children: Children,
    tmp_path: Path,
) -> None:
    place, log = new_place(url, instance="the one"), tmp_path / "service.log"
    store = new_store(place)
    sent: dict[str, list[str]] = {account: [] for account in ACCOUNTS}
    messages: list[Message] = []
    for point in points:
        copies, messages = messages, [charge(account) for account in ACCOUNTS]
        send(place.requests, *copies, *messages)
        for account, message in zip(ACCOUNTS, messages, strict=True):
            sent[account].append(message.id)
        life = children.start(crash_points.process(place, log, point))
        eventually(lambda life=life: not life.alive, 60, lambda point=point: f"alive, not at {point}: {log_tail(log)}")  # type: ignore[misc]
        assert life.process.returncode == -signal.SIGKILL, log_tail(log)
        assert f"SIGKILL {point}" in log.read_text()
    last = children.start(crash_points.process(place, log))
    total = 2 * len(points) * len(ACCOUNTS)
    causes = told(place, total, log)
    assert last.stop(timeout_seconds=60) == 0, log_tail(log)
    for account in ACCOUNTS:
        notes = booked(store, account)
        outcomes = [f"effect call {message}" for message in sent[account]]
        assert [note for note in notes if not note.startswith("outcome")] == sent[account]
        assert sorted(note for note in notes if note.startswith("outcome")) == sorted(f"outcome {m}" for m in sent[account])
        assert [cause for cause in causes[account] if cause not in outcomes] == sent[account]
        assert sorted(cause for cause in causes[account] if cause in outcomes) == sorted(outcomes)
    calls = set((tmp_path / "calls").read_text().splitlines())
    assert calls == {f"call {message}" for account in ACCOUNTS for message in sent[account]}
