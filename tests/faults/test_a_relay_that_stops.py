"""Commits that interleave, a transaction that stalls, and a leading relay that is frozen: nothing is skipped, and each key keeps its order."""

import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from devkit import crash_points
from devkit.accounts import Place
from devkit.outbox import add, read, row, size
from devkit.processes import Child, Children, log_tail
from millrace.outbox.outbox import OutboxRow
from millrace.store.contract import Store
from millrace.store.open import open_store
from millrace.testing.waiting import eventually

KEYS = ("k0", "k1", "k2")


class Rows:
    """Numbered rows of the topic, and which numbers each key was given, in order."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._count = 0
        self.by_key: dict[str, list[int]] = defaultdict(list)

    def of(self, key: str) -> OutboxRow:
        self._count += 1
        self.by_key[key].append(self._count)
        return row(self._topic, key, self._count)

    def commit_interleaved(self, store: Store) -> None:
        """Commit two rows a key, and behind them one that has a lower id than they."""
        session = store.session()
        with session.transaction() as tx:
            tx.outbox.add([self.of(f"late {self._count}")])
            tx.sql.settle()
            add(store, *(self.of(key) for key in KEYS for _ in range(2)))
        session.close()


def published(place: Place) -> list[tuple[bytes | None, int]]:
    """Return all that the topic holds."""
    reader = Consumer({"bootstrap.servers": place.bootstrap, "group.id": "none"})
    _, end = reader.get_watermark_offsets(TopicPartition(place.results, 0), timeout=30)
    reader.close()
    return read(place.bootstrap, place.results, end)


def is_stopped(child: Child) -> bool:
    child.check()
    return bool(psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)


@pytest.mark.parametrize("point", ["after send", "before outbox.delivered", "after commit of a delivery"])
def test_a_frozen_leader_is_followed_and_nothing_is_skipped_or_reordered(
    point: str,
    postgres_url: Callable[[], str],
    new_place: Callable[..., Place],
    new_store: Callable[[Place], Store],
    children: Children,
    tmp_path: Path,
) -> None:
    """What the frozen one had under way may come once more when it goes on: a copy, which an inbox leaves out."""
    place = new_place(postgres_url())
    store, frozen_log, log = new_store(place), tmp_path / "frozen.log", tmp_path / "next.log"
    patient = open_store(f"{place.store_url}?options=-c%20idle_in_transaction_session_timeout%3D0")
    rows, stalled = Rows(place.results), patient.session()

    def all_but_the_stalled_are_out() -> None:
        eventually(lambda: size(store) == 0, 60, lambda: (size(store), log_tail(log)))

    with stalled.transaction() as tx:
        tx.outbox.add([rows.of("stalled")])
        tx.sql.settle()
        rows.commit_interleaved(store)
        frozen = children.start(crash_points.process(place, frozen_log, point, signal.SIGSTOP))
        eventually(lambda: is_stopped(frozen), 60, lambda: log_tail(frozen_log))
        rows.commit_interleaved(store)
        successor = children.start(crash_points.process(place, log))
        all_but_the_stalled_are_out()
        frozen.process.send_signal(signal.SIGCONT)
        rows.commit_interleaved(store)
        all_but_the_stalled_are_out()
        eventually(lambda: "relay waits for the database" in frozen_log.read_text(), 60, lambda: log_tail(frozen_log))
        assert frozen.stop(timeout_seconds=60) == 0
    stalled.close()
    all_but_the_stalled_are_out()
    assert successor.stop(timeout_seconds=60) == 0

    found = published(place)
    in_order: dict[str, list[int]] = defaultdict(list)
    for key, number in dict.fromkeys(found):
        in_order[(key or b"").decode()].append(number)
    assert in_order == rows.by_key
    assert max(Counter(found).values()) <= 2
