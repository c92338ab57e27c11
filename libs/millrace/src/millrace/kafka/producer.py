"""The idempotent producer, one step above librdkafka: for callers that follow each message's own delivery report.

Called by the outbox relay and by `KafkaPublisher`, which adds the waiting. It knows nothing of envelopes.
"""

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from millrace.errors import MillraceError, PermanentError, PublishTimeout, Unavailable
from millrace.kafka.config import CLIENT_LOG, KafkaConfig

log = logging.getLogger(__name__)

DeliveryReport = Callable[[KafkaError | None, Any], None]
ErrorReport = Callable[[KafkaError], None]
WireHeaders = Sequence[tuple[str, bytes | None]]

_UNANSWERED = frozenset((KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT))
_AWAY = frozenset(
    (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    )
)


def as_error(error: KafkaError) -> MillraceError:
    """Return the Millrace error for a failed delivery: unanswered and away are transient, refused is permanent."""
    reason = f"{error.name()}: {error.str()}"
    if error.code() in _UNANSWERED:
        return PublishTimeout(reason)
    if error.code() in _AWAY or error.retriable() or error.fatal():
        return Unavailable(reason)
    return PermanentError(reason)


def new_producer(config: KafkaConfig, on_error: ErrorReport | None = None) -> Producer:
    """Return a confluent Producer with the settings of the promises. `on_error` hears of connection troubles while it is polled."""

    def report(error: KafkaError) -> None:
        log.warning("kafka producer error", extra={"kafka_error": error.name(), "reason": error.str()})
        if on_error is not None:
            on_error(error)

    return Producer({**config.producer_settings(), "error_cb": report}, logger=CLIENT_LOG)


class KafkaProducer:
    """Hands messages to librdkafka without waiting for them. Safe to call from several threads."""

    def __init__(self, config: KafkaConfig, on_error: ErrorReport | None = None) -> None:
        self._producer = new_producer(config, on_error)

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: WireHeaders, on_delivery: DeliveryReport) -> None:
        """Queue one message; `on_delivery` is called once from `poll` or `flush`, in whichever thread calls them.

        A full queue is waited for, by polling. Raises PublishTimeout if it stays full past the message time-out, PermanentError
        where the client itself refuses the message (too large), Unavailable if the producer is beyond repair.
        """
        give_up_at = monotonic() + 30.0
        while True:
            try:
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=on_delivery)
                return
            except BufferError as full:
                if monotonic() > give_up_at:
                    raise PublishTimeout("the producer's queue stays full") from full
                self._producer.poll(0.1)
            except KafkaException as refused:
                raise as_error(refused.args[0]) from refused

    def poll(self, timeout_seconds: float = 0.0) -> int:
        """Call the delivery reports that are due, waiting up to `timeout_seconds` for the first; return how many there were."""
        return self._producer.poll(timeout_seconds)

    def probe(self, timeout_seconds: float) -> None:
        """Ask the cluster for its brokers. Raises Unavailable if none answers in time."""
        self._producer.poll(0)
        try:
            self._producer.list_topics(timeout=timeout_seconds)
        except KafkaException as silent:
            raise Unavailable(silent.args[0].str()) from silent

    def flush(self, timeout_seconds: float) -> int:
        """Send without lingering and return how many messages still wait for their report after `timeout_seconds`."""
        return self._producer.flush(timeout_seconds)
