"""The idempotent producer, one step above librdkafka: for callers that follow each message's own delivery report.

Called by the outbox relay and by `KafkaPublisher`, which adds the waiting. It knows nothing of envelopes.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Lock
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from millrace.errors import MillraceError, PermanentError, PublishTimeout, TopicUnavailable, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog

log = logging.getLogger(__name__)

DeliveryReport = Callable[[KafkaError | None, Any], None]
ErrorReport = Callable[[KafkaError], None]
WireHeaders = Sequence[tuple[str, bytes | None]]

_FLUSH_SECONDS = 0.1
"""How long a flush waits in one go: so that neither of two producers waits for the other; and under the 0.2 s from which
confluent-kafka (2.16) goes on after a fatal error and runs the next delivery reports with that exception set, which breaks them."""

_UNANSWERED = frozenset((KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT))
_REFUSED = frozenset(
    (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError._BAD_MSG,
        KafkaError._INVALID_ARG,
    )
)

_TOPIC = frozenset(
    (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    )
)

# One connection's trouble: librdkafka's own line tells of it.
_CONNECTION = frozenset((KafkaError._AUTHENTICATION, KafkaError._RESOLVE, KafkaError._SSL, KafkaError._TRANSPORT))


def as_error(error: KafkaError, explain: Callable[[str], str] = str) -> MillraceError:
    """Return the Millrace error for a failed delivery.

    Permanent is only what lies in the message itself. All else may pass: brokers come back, topics are made, rights are granted, and a
    producer at fault is replaced. `explain` adds to the text of such a one what is known of the connection.
    """
    reason = f"{error.name()}: {error.str()}"
    if error.code() in _REFUSED:
        return PermanentError(reason)
    if error.code() in _TOPIC:
        return TopicUnavailable(reason)
    return PublishTimeout(explain(reason)) if error.code() in _UNANSWERED else Unavailable(explain(reason))


def new_producer(
    config: KafkaConfig,
    on_error: ErrorReport | None = None,
    connection: ConnectionLog | None = None,
    *,
    alone: bool = False,
    transactional_id: str = "",
) -> Producer:
    """Return a confluent Producer with the settings of the promises. `on_error` hears of connection troubles while it is polled.

    `alone` puts each message into a record batch of its own. With a `transactional_id` it publishes in transactions only.
    """

    def report(error: KafkaError) -> None:
        if error.code() not in _CONNECTION:
            log.warning("kafka producer error", extra={"kafka_error": error.name(), "reason": error.str()})
        if on_error is not None:
            on_error(error)

    settings = config.producer_settings()
    if alone:
        settings["batch.num.messages"] = 1
    if transactional_id:
        settings["transactional.id"] = transactional_id
        settings["transaction.timeout.ms"] = round(config.transaction_timeout_seconds * 1000)
    return Producer({**settings, "error_cb": report}, logger=connection or ConnectionLog())


class KafkaProducer:
    """Hands messages to librdkafka without waiting for them. Safe to call from several threads.

    Messages of a partition travel together, in one record batch, and a broker refuses a record batch as a whole: one message that it
    does not take, or all of them being more than the topic's `max.message.bytes`, has innocent neighbours refused too. Only of a
    message sent `alone` does a refusal say that it is at fault.

    A fatal error, such as a sequence number the broker does not expect since it lost records, leaves it `broken`: it sends nothing more,
    and reports all it was given. Whoever owns it goes on with a new one.
    """

    def __init__(self, config: KafkaConfig, on_error: ErrorReport | None = None) -> None:
        self._config = config
        self._on_error = on_error
        self._connection = ConnectionLog()
        self._together = new_producer(config, on_error, self._connection)
        self._alone: Producer | None = None
        self._broken = False
        self._lock = Lock()

    @property
    def broken(self) -> bool:
        """Whether a fatal error ended it."""
        return self._broken

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: WireHeaders,
        on_delivery: DeliveryReport,
        *,
        alone: bool = False,
    ) -> None:
        """Queue one message; `on_delivery` is called once from `poll` or `flush`, in whichever thread calls them.

        `alone` sends it in a record batch of its own. It keeps no order with messages under way that were not sent so.

        A full queue is waited for, by polling. Raises PublishTimeout if it stays full past the message time-out, PermanentError
        where the client itself refuses the message (too large), Unavailable if the producer is beyond repair.
        """
        producer = self._one_by_one() if alone else self._together
        give_up_at = monotonic() + 30.0
        while True:
            try:
                producer.produce(topic, value, key, headers=list(headers), on_delivery=on_delivery)
                return
            except BufferError as full:
                if monotonic() > give_up_at:
                    raise PublishTimeout("the producer's queue stays full") from full
                self._poll(producer, 0.1)
            except KafkaException as refused:
                if refused.args[0].code() == KafkaError._FATAL:
                    self._broken = True
                raise as_error(refused.args[0], self.explain) from refused

    def poll(self, timeout_seconds: float = 0.0) -> int:
        """Call the delivery reports that are due, waiting up to `timeout_seconds` for the first; return how many there were."""
        served = 0 if self._alone is None else self._poll(self._alone, 0)
        return served + self._poll(self._together, 0 if served else timeout_seconds)

    def probe(self, timeout_seconds: float) -> None:
        """Ask the cluster for its brokers. Raises Unavailable if none answers in time."""
        self.poll()
        try:
            self._together.list_topics(timeout=timeout_seconds)
        except KafkaException as silent:
            self.poll()  # the client's log, too, is handed over while it is polled
            raise Unavailable(self.explain(silent.args[0].str())) from silent

    def topic_fault(self, topic: str, timeout_seconds: float) -> str | None:
        """Return why the cluster takes no messages of a topic: it is not there, say, or hidden from us. None where nothing is known.

        Raises Unavailable if no broker answers in time.
        """
        self.poll()
        try:
            error = self._together.list_topics(topic, timeout=timeout_seconds).topics[topic].error
        except KafkaException as silent:
            self.poll()
            raise Unavailable(self.explain(silent.args[0].str())) from silent
        return None if error is None else f"{error.name()}: {error.str()}"

    def explain(self, what: str) -> str:
        """Return `what` and, behind it, why a connection failed lately, if one did."""
        return self._connection.explain(what)

    def flush(self, timeout_seconds: float) -> int:
        """Send without lingering and return how many messages still wait for their report after `timeout_seconds`."""
        until = monotonic() + timeout_seconds
        while True:
            slice_seconds = max(0.0, min(_FLUSH_SECONDS, until - monotonic()))
            waiting = self._flush(self._together, slice_seconds)
            if self._alone is not None:
                waiting += self._flush(self._alone, slice_seconds)
            if not waiting or monotonic() >= until:
                return waiting

    def _poll(self, producer: Producer, timeout_seconds: float) -> int:
        try:
            return producer.poll(timeout_seconds)
        except KafkaException as fatal:
            self._ended_by(fatal)
            return 0

    def _flush(self, producer: Producer, timeout_seconds: float) -> int:
        try:
            return producer.flush(timeout_seconds)
        except KafkaException as fatal:
            self._ended_by(fatal)
            return len(producer)

    def _ended_by(self, fatal: KafkaException) -> None:
        """Note the error that confluent-kafka raises from poll and flush, and only there, instead of calling `error_cb`."""
        self._broken = True
        log.error("kafka producer beyond repair", extra={"kafka_error": fatal.args[0].name(), "reason": fatal.args[0].str()})

    def _one_by_one(self) -> Producer:
        """Return the producer that batches nothing, made when it is first needed."""
        with self._lock:
            if self._alone is None:
                self._alone = new_producer(self._config, self._on_error, self._connection, alone=True)
            return self._alone
