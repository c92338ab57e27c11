"""Which of the held partitions may be read now. Used by the consumer's thread alone."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition

from millrace.pipeline.assignment import TopicPart

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Flow:
    """None while the database is away or too much is parked, and none of the partitions that feed a key with too much parked."""

    away: bool = False
    _full: bool = False
    _crowded: Collection[TopicPart] = field(default_factory=frozenset)

    def heed(self, parked: int, most: int, crowded: Collection[TopicPart]) -> bool:
        """Take in what is parked now; return whether that changes what may be read. Failing messages must not fill the database."""
        full = parked >= most
        if full == self._full and crowded == self._crowded:
            return False
        if full or crowded:
            where = sorted(f"{topic} {partition}" for topic, partition in crowded)
            log.error("too much is parked, reading stops", extra={"parked": parked, "everywhere": full, "partitions": where})
        else:
            log.info("reading goes on", extra={"parked": parked})
        self._full, self._crowded = full, crowded
        return True

    def regulate(self, consumer: Consumer, parts: Iterable[TopicPart], held: Collection[TopicPart]) -> None:
        """Resume those of the assigned partitions that may be read, and pause the others."""
        readable = set() if self.away or self._full else set(held) - set(self._crowded)
        assigned = set(parts)
        consumer.pause([TopicPartition(*part) for part in assigned - readable])
        consumer.resume([TopicPartition(*part) for part in assigned & readable])
