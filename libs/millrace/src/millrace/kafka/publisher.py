"""Publisher over Kafka: one synchronous call per batch, back when the broker has all of it.

Given to Routers and command buses by a program's bootstrap. The outbox relay uses the producer below it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError

from millrace.envelope import encode_headers
from millrace.errors import PermanentError, PublishTimeout
from millrace.kafka.config import KafkaConfig
from millrace.kafka.producer import ErrorReport, KafkaProducer, as_error
from millrace.pubsub import RawOutgoing, Sendable

log = logging.getLogger(__name__)

_SLICE_SECONDS = 0.01


class KafkaPublisher:
    """Keeps the Publisher promise. `timeout_seconds` bounds the wait for a batch; leave it above the message time-out, so that each
    message's own report decides.

    A message of a failed batch may have arrived all the same; publishing the batch again repeats it under the same message ids. Messages
    the broker refused together are sent again one by one, and with them, in order, the others of their topic and key: one that went
    through at first is then there twice.
    """

    def __init__(self, config: KafkaConfig, *, timeout_seconds: float = 10.0, on_error: ErrorReport | None = None) -> None:
        self._config = config
        self._timeout_seconds = timeout_seconds
        self._on_error = on_error
        self._lock = Lock()
        self._producer: KafkaProducer | None = KafkaProducer(config, on_error)
        self._closed = False

    def publish(self, batch: Sequence[Sendable]) -> None:
        """Send in order and return once the broker has every message. Raises PublishTimeout, Unavailable or PermanentError."""
        producer = self._usable()
        give_up_at = monotonic() + self._timeout_seconds
        failures = _send(producer, batch, give_up_at)
        refused = {failure.lane for failure in failures if isinstance(as_error(failure.error), PermanentError)}
        if refused:
            again = [item for item in batch if (item.topic, _key(item)) in refused]
            log.warning("messages refused together, sent again one by one", extra={"messages": len(again)})
            others = [failure for failure in failures if failure.lane not in refused]
            failures = others + _send(producer, again, give_up_at, alone=True)
        if failures:
            raise as_error(failures[0].error, producer.explain)

    def close(self) -> None:
        """Wait for what is under way, then give the connection back. Calling it twice does nothing."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.flush(self._timeout_seconds)

    def _usable(self) -> KafkaProducer:
        with self._lock:
            if self._closed:
                raise RuntimeError("the publisher is closed")
            if self._producer is None or self._producer.broken:
                self._producer = KafkaProducer(self._config, self._on_error)
            return self._producer


@dataclass(frozen=True, slots=True)
class _Failure:
    """A message that did not go through: its topic and key, and why."""

    lane: tuple[str, bytes | None]
    error: KafkaError


class _Reports:
    """Counts the delivery reports of one batch. They come in whichever thread polls, in several at once where batches overlap."""

    __slots__ = ("_lock", "failures", "received")

    def __init__(self) -> None:
        self.received = 0
        self.failures: list[_Failure] = []
        self._lock = Lock()

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        with self._lock:
            self.received += 1
            if error is not None:
                self.failures.append(_Failure((message.topic(), message.key()), error))


def _send(producer: KafkaProducer, batch: Sequence[Sendable], give_up_at: float, *, alone: bool = False) -> list[_Failure]:
    """Send in order and return what failed, once every message has its report. Raises PublishTimeout if one has none by then.

    Where the producer does not take a message, its error is raised once those before it have their reports.
    """
    reports = _Reports()
    sent = 0
    try:
        for item in batch:
            if isinstance(item, RawOutgoing):
                producer.send(item.topic, item.key, item.value, item.headers, reports, alone=alone)
            else:
                message = item.message
                producer.send(item.topic, _key(item), message.payload, encode_headers(message), reports, alone=alone)
            sent += 1
    finally:
        # Slices: a flush waits for other threads' messages too, and must not hold this batch up once its own reports are in.
        while reports.received < sent:
            left = give_up_at - monotonic()
            if left <= 0:
                raise PublishTimeout(producer.explain(f"{sent - reports.received} of {sent} messages unanswered"))
            producer.flush(min(left, _SLICE_SECONDS))
    return reports.failures


def _key(item: Sendable) -> bytes | None:
    if isinstance(item, RawOutgoing):
        return item.key
    return None if item.message.key is None else item.message.key.encode()
