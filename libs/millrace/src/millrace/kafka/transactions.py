"""Kafka transactions under one transactional id: messages and a group's positions, all or nothing.

Used by the transactional subscription, from its one thread. Every call of the client is bounded. A producer that is at fault is replaced
by one of the same id, which first settles what its predecessor left open (KIP-98, KIP-360).
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from millrace.envelope import encode_headers
from millrace.errors import Fenced, OutcomeUnknown, PermanentError, Unavailable
from millrace.kafka.bounds import within
from millrace.kafka.config import KafkaConfig
from millrace.kafka.connection import ConnectionLog
from millrace.kafka.producer import as_error, new_producer
from millrace.pubsub import RawOutgoing, Sendable

_PAUSE_SECONDS = 0.05
_GRACE_SECONDS = 2.0
_FENCED = frozenset((KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH))


class Transactions:
    """One transaction at a time. With `shared_id` the id may come to be another's, and then this one ends: a call raises Fenced.

    Without, nobody else has it: a broker that fences it gave up a transaction that took too long, and it goes on.
    """

    def __init__(self, config: KafkaConfig, transactional_id: str, *, shared_id: bool) -> None:
        self._config = config
        self._id = transactional_id
        self._shared_id = shared_id
        self._seconds = config.transaction_timeout_seconds
        self._connection = ConnectionLog()
        self._producer: Producer | None = None
        self._alone = False
        self.ready = False
        """Whether a transaction can begin: the id is ours, and nothing of it is open."""

    def prepare(self, timeout_seconds: float) -> None:
        """Take the id; what was open under it is committed or aborted once this returns. Raises Unavailable."""
        if self.ready:
            return
        if self._producer is None:
            self._producer = new_producer(self._config, None, self._connection, alone=self._alone, transactional_id=self._id)
        try:
            producer = self._producer
            within(timeout_seconds + _GRACE_SECONDS, "init", lambda: producer.init_transactions(timeout_seconds))
        except KafkaException as failed:
            producer.poll(0)  # the client's log, too, is handed over while it is polled
            if not failed.args[0].retriable():
                self._drop()
            raise self._error(failed) from failed
        self.ready = True

    def run(self, outputs: Sequence[Sendable], offsets: Sequence[TopicPartition], member: Any) -> None:
        """Publish outputs and commit offsets for the member of a group, as its `consumer_group_metadata()` names it.

        Raises OutcomeUnknown where it may stand all the same, which `prepare` settles; any other error says that nothing of it does.
        """
        self.prepare(self._seconds)
        assert self._producer is not None
        committing = False
        try:
            self._producer.begin_transaction()
            self._send(self._producer, outputs)
            self._insist("send_offsets", lambda by, seconds: by.send_offsets_to_transaction(list(offsets), member, seconds))
            committing = True
            self._insist("commit", lambda by, seconds: by.commit_transaction(seconds))
        except KafkaException as failed:
            raise self._ended_by(failed, committing=committing) from failed
        if self._alone:
            self._alone = False
            self._drop()

    def close(self) -> None:
        """Give the connection back. What is open is aborted by the next of this id, or by the broker once it times out."""
        self._drop()

    def _send(self, producer: Producer, outputs: Sequence[Sendable]) -> None:
        give_up_at = monotonic() + self._seconds
        for item in outputs:
            headers: list[tuple[str, str | bytes | None]]
            if isinstance(item, RawOutgoing):
                key, value, headers = item.key, item.value, [*item.headers]
            else:
                message = item.message
                key = None if message.key is None else message.key.encode()
                value, headers = message.payload, [*encode_headers(message)]
            while True:
                try:
                    producer.produce(item.topic, value, key, headers=headers)
                    break
                except BufferError as full:
                    if monotonic() > give_up_at:
                        raise KafkaException(KafkaError(KafkaError._QUEUE_FULL, "the producer's queue stays full")) from full
                    producer.poll(_PAUSE_SECONDS)
            producer.poll(0)

    def _insist(self, name: str, call: Callable[[Any, float], None]) -> None:
        """Make a call that may be repeated, until it is answered or the transaction's time is over."""
        producer = self._producer
        assert producer is not None
        give_up_at = monotonic() + self._seconds
        while True:
            seconds = max(_PAUSE_SECONDS, give_up_at - monotonic())
            try:
                within(seconds + _GRACE_SECONDS, name, lambda seconds=seconds: call(producer, seconds))  # type: ignore[misc]
                return
            except KafkaException as failed:
                if not failed.args[0].retriable() or monotonic() >= give_up_at:
                    raise
                producer.poll(_PAUSE_SECONDS)

    def _ended_by(self, failed: KafkaException, *, committing: bool) -> Exception:
        """Put an end to a transaction that failed, and return what to raise for it."""
        error = failed.args[0]
        unknown = committing and not error.txn_requires_abort()
        if unknown or not (error.txn_requires_abort() or error.retriable()):
            self._drop()  # of a call that did not return at all, say
        else:
            try:
                self._insist("abort", lambda by, seconds: by.abort_transaction(seconds))
            except KafkaException:
                self._drop()
        raised = self._error(failed)
        if isinstance(raised, PermanentError):
            self._alone = True  # a record batch is refused as a whole: the next is sent message by message
            self._drop()
        return OutcomeUnknown(str(raised)) if unknown and not isinstance(raised, Fenced) else raised

    def _error(self, failed: KafkaException) -> Exception:
        error = failed.args[0]
        if error.code() in _FENCED:
            reason = f"{error.name()}: {error.str()}"
            return Fenced(f"{self._id} is another's: {reason}") if self._shared_id else Unavailable(reason)
        return as_error(error, self._connection.explain)

    def _drop(self) -> None:
        self.ready = False
        self._producer = None
