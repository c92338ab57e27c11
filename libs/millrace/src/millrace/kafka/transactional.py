"""Subscriber over Kafka for handlers that read from one cluster and write to it: consume, process, produce in one transaction (KIP-447).

Given to Routers by a program's bootstrap. Its positions move in transactions alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import KafkaException, TopicPartition

from millrace.errors import OutcomeUnknown, Unavailable
from millrace.kafka.config import KafkaConfig
from millrace.kafka.subscriber import HealthReport, KafkaSubscription, Place, ignore_health
from millrace.kafka.transactions import Transactions
from millrace.message import Record
from millrace.progress import Progress
from millrace.pubsub import Sendable

_ANSWER_SECONDS = 3.0


class KafkaTransactionalSubscriber:
    """Opens one consumer and one producer per subscription. `on_health(ok, reason)` hears when the brokers go away and come back.

    A member's transactional id is its group's name and, after a dot, its `group_instance_id`, or else one made up for this subscription.
    """

    def __init__(self, config: KafkaConfig, *, on_health: HealthReport | None = None) -> None:
        self._config = config
        self._on_health = on_health or ignore_health

    def subscribe(self, topics: Sequence[str], group: str) -> "KafkaTransactionalSubscription":
        """Join a consumer group on topics, by name. A group without a position starts at the earliest record."""
        return KafkaTransactionalSubscription(self._config, topics, group, self._on_health)


class KafkaTransactionalSubscription(KafkaSubscription):
    """One member of a group. All calls come from one thread.

    The broker checks with each transaction that the member is still one of its group: one that fell out commits nothing. Where a commit
    was not answered, `receive` first asks how it ended, and goes on where the group stands.
    """

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str, on_health: HealthReport) -> None:
        name = config.group_instance_id
        self._transactions = Transactions(config, f"{group}.{name or uuid4().hex}", shared_id=bool(name))
        self._in_doubt: dict[Place, Progress] = {}
        super().__init__(config, topics, group, on_health)

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """See KafkaSubscription. Raises Unavailable too while it cannot be told how the last transaction ended."""
        try:
            self._transactions.prepare(_ANSWER_SECONDS)
            self._settle()
        except Unavailable as away:
            self._report(False, str(away))
            raise
        return super().receive(max_records, timeout_seconds)

    def ack(self, records: Sequence[Record]) -> None:
        """Mark records as done, in a transaction that publishes nothing. Raises as `commit` does."""
        self.commit(records, ())

    def commit(self, records: Sequence[Record], outputs: Sequence[Sendable]) -> None:
        """See TransactionalSubscription."""
        if not records:
            return
        offsets: dict[Place, int] = {}
        for record in records:
            place = (record.topic, record.partition)
            if place not in self._progress or not self._progress[place].in_hand(record):
                raise Unavailable(f"{record.topic} [{record.partition}] is no longer this member's")
            offsets[place] = max(offsets.get(place, 0), record.offset + 1)
        try:
            self._transactions.run(outputs, [TopicPartition(*place, offset) for place, offset in offsets.items()], self._member())
        except OutcomeUnknown:
            self._in_doubt = {place: self._progress[place] for place in offsets}
            raise
        for record in records:
            self._progress[record.topic, record.partition].done(record)

    def close(self) -> None:
        """Leave the group. Calling it twice does nothing."""
        super().close()
        self._transactions.close()

    def _member(self) -> Any:
        """Return how the broker tells this member. Raises Unavailable outside the group.

        A member that was put out has no id until it joins again, and the broker takes offsets from one without an id unchecked.
        """
        member = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():
            raise Unavailable(f"fell out of group {self._group}")
        return member

    def _settle(self) -> None:
        """Go to where the group stands in each partition whose last commit was not answered. Raises Unavailable."""
        places = [place for place, progress in self._in_doubt.items() if self._progress.get(place) is progress]
        if places:
            try:
                answers = self._consumer.committed([TopicPartition(*place) for place in places], timeout=_ANSWER_SECONDS)
            except KafkaException as silent:
                raise Unavailable(self._connection.explain(silent.args[0].str())) from silent
            for answer in answers:
                if answer.error is not None:
                    raise Unavailable(answer.error.str())
                if answer.offset >= 0:
                    self._progress[answer.topic, answer.partition] = Progress()
                    self._consumer.seek(answer)
        self._in_doubt = {}

    def _commit(self, places: Iterable[Place], *, wait: bool) -> None:
        """Nothing: see `commit`."""
