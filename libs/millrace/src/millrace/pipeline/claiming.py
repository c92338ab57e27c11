"""Takes over, in the store, the partitions that the group assigned to this worker, and finds where each is read on.

The store's position rules. Kafka's committed offset counts where the store knows none, and where a reset was ordered: then its metadata
says `millrace-reset=` and an id the store has not seen. An offset somebody else changed without one is told of and ignored. Called by
the consumer's thread alone.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from millrace.inbox.positions import PartitionId, Position, Reset
from millrace.kafka.bounds import within
from millrace.kafka.topics import TopicIds
from millrace.pipeline.assignment import TopicPart
from millrace.store.contract import Session

log = logging.getLogger(__name__)
_ANSWER_SECONDS = 3.0
"""How long the broker may take for an answer; past that the claim is tried again. Short, as a consumer told to end waits for it."""

OWN_COMMIT = "millrace"
"""The metadata of every offset that a Millrace consumer commits."""
RESET = "millrace-reset="
"""What the metadata of an offset begins with that consumers are to move to; the reset's id follows."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Partitions taken over: their positions in the store, and where Kafka's consumer has to start."""

    positions: Mapping[PartitionId, Position]
    starts: list[TopicPartition]


class Claims:
    """Claims partitions for one group."""

    def __init__(self, group: str, session: Session, topic_ids: TopicIds) -> None:
        self._group = group
        self._session = session
        self._topic_ids = topic_ids

    def claim(self, consumer: Consumer, parts: Sequence[TopicPart], doubted: Collection[TopicPart]) -> Claimed:
        """Become the owner of assigned partitions. Raises KafkaException and the store's errors; then nothing was claimed.

        For `doubted` ones, membership is proved first by a synchronous commit of what is committed already: a worker that was thrown
        out, and does not know yet, would take the partitions back from their owner.
        """
        asked = [TopicPartition(*part) for part in parts]
        committed = {(p.topic, p.partition): p for p in consumer.committed(asked, timeout=_ANSWER_SECONDS)}
        if doubted:
            again = [committed[part] for part in parts if part in doubted]
            proof = [TopicPartition(p.topic, p.partition, max(p.offset, 0), p.metadata or "") for p in again]
            within(_ANSWER_SECONDS, "commit", lambda: consumer.commit(offsets=proof, asynchronous=False))
        ids = self._topic_ids.of({topic for topic, _ in parts})
        wanted = [PartitionId(topic, ids[topic][0], partition) for topic, partition in parts if topic in ids]
        with self._session.transaction() as tx:
            read_before = tx.positions.topics_read(self._group)
            held = tx.positions.claim(self._group, wanted)
            reset = tx.positions.reset(self._group, _resets(committed, held))
        self._tell(committed, held, reset)
        held |= reset
        return Claimed(held, [_start(p, position, committed, read_before) for p, position in held.items()])

    def _tell(
        self,
        committed: Mapping[TopicPart, TopicPartition],
        held: Mapping[PartitionId, Position],
        reset: Mapping[PartitionId, Position],
    ) -> None:
        for partition, position in held.items():
            offset = committed[partition.topic, partition.partition]
            where = {
                "kafka_topic": partition.topic,
                "kafka_partition": partition.partition,
                "kafka_offset": offset.offset,
                "position": position.next_offset,
            }
            if partition in reset:
                log.warning("position reset as ordered", extra={**where, "kafka_metadata": offset.metadata})
            elif _is_foreign(offset) and position.next_offset not in (None, offset.offset):
                log.warning("an offset changed without a reset's id is ignored", extra=where)


def _resets(committed: Mapping[TopicPart, TopicPartition], held: Mapping[PartitionId, Position]) -> list[Reset]:
    found = [(p, position, committed[p.topic, p.partition]) for p, position in held.items()]
    return [
        Reset(partition, position.owner_epoch, offset.offset, (offset.metadata or "").removeprefix(RESET))
        for partition, position, offset in found
        if offset.offset >= 0 and (offset.metadata or "").startswith(RESET)
    ]


def _is_foreign(offset: TopicPartition) -> bool:
    return offset.offset >= 0 and offset.metadata != OWN_COMMIT and not (offset.metadata or "").startswith(RESET)


def _start(
    partition: PartitionId, position: Position, committed: Mapping[TopicPart, TopicPartition], read_before: Collection[str]
) -> TopicPartition:
    """Say where to read on: at the position; without one at Kafka's committed offset, or, for a topic made anew, at its beginning."""
    offset = position.next_offset
    if offset is None and partition.topic not in read_before:
        offset = committed[partition.topic, partition.partition].offset
    return TopicPartition(partition.topic, partition.partition, OFFSET_BEGINNING if offset is None or offset < 0 else offset)
