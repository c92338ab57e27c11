"""Whenever delivery reports come, a key's messages go out in order, and nothing goes out twice that was not refused. The broker is played, so that the moments can be chosen."""

import random
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError

from millrace.clock import utc_now
from millrace.kafka.config import KafkaConfig
from millrace.observability.health import Health
from millrace.outbox import dispatch as dispatch_module
from millrace.outbox.config import RelayConfig
from millrace.outbox.outbox import OutboxRow
from millrace.outbox.relay import Relay
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.open import open_store
from millrace.testing.waiting import eventually

HEADERS = msgspec.msgpack.encode([])


class PlayedProducer:
    """Takes messages into its log at once, and reports on each when its dice say so; some it refuses to answer, and does not take."""

    broken = False

    def __init__(self, seed: int, log: list[tuple[bytes | None, int]]) -> None:
        self._dice = random.Random(seed)
        self._log = log
        self._waiting: deque[Callable[[], None]] = deque()

    def __call__(self, *_: object) -> "PlayedProducer":
        return self

    def send(self, topic: str, key: bytes | None, value: bytes, headers: object, report: Any, *, alone: bool = False) -> None:
        if self._dice.random() < 0.1:
            self._waiting.append(lambda: report(KafkaError(KafkaError._MSG_TIMED_OUT), None))
        else:
            self._log.append((key, int(value)))
            self._waiting.append(lambda: report(None, None))

    def poll(self, timeout_seconds: float = 0.0) -> int:
        for _ in range(count := min(self._dice.choice((0, 0, 1, 3)), len(self._waiting))):
            self._waiting.popleft()()
        return count

    def flush(self, timeout_seconds: float) -> int:
        for _ in range(self._dice.randint(1, 5)):
            self.poll()
        return len(self._waiting)

    def probe(self, timeout_seconds: float) -> None:
        self.poll()

    def topic_fault(self, topic: str, timeout_seconds: float) -> str | None:
        self.poll()
        return None

    def explain(self, what: str) -> str:
        return what


@pytest.mark.parametrize("seed", range(20))
def test_a_keys_messages_go_out_in_order_whenever_reports_come(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[bytes | None, int]] = []
    monkeypatch.setattr(dispatch_module, "KafkaProducer", PlayedProducer(seed, log))
    store = open_store("memory://")
    store.migrate()
    dice = random.Random(seed)
    session = store.session()
    with session.transaction() as tx:
        keys = [b"k%d" % dice.randrange(5) if n % 10 else None for n in range(200)]
        tx.outbox.add([OutboxRow("t", key, b"%d" % n, HEADERS, str(n)) for n, key in enumerate(keys)])
    relay = Relay(
        RelayConfig(0.01, round_seconds=0), KafkaConfig("played:1"), store, Health(), PipelineMetrics("played"), utc_now
    )
    relay.start()

    def left() -> int:
        with session.transaction() as tx:
            return tx.outbox.size()

    eventually(lambda: left() == 0, 30, left)
    relay.stop()
    store.close()
    assert sorted(n for _, n in log) == list(range(200))
    for key in {key for key, _ in log} - {None}:
        assert all(a < b for a, b in pairwise(n for k, n in log if k == key))
