"""What the pipeline must know of topics: their lasting ids, partition counts and end offsets."""

from collections.abc import Mapping, Sequence

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from millrace.kafka.config import KafkaConfig

_TIMEOUT_SECONDS = 3.0  # short, as a consumer told to end waits for the answer under way
_ONLY_CRITICAL = 2  # consumer and producer tell of the same troubles, through the log


class TopicIds:
    """Asks the broker about topics, on a connection of its own. Raises KafkaException while no broker answers."""

    def __init__(self, config: KafkaConfig) -> None:
        self._admin = AdminClient({**config.client_settings(), "log_level": _ONLY_CRITICAL})

    def of(self, names: set[str]) -> Mapping[str, tuple[str, int]]:
        """Return id and partition count of each topic that exists. Asked of the broker at every call."""
        answers = self._admin.describe_topics(TopicCollection(sorted(names)), request_timeout=_TIMEOUT_SECONDS)
        known: dict[str, tuple[str, int]] = {}
        for name, answer in answers.items():
            description = answer.result()
            known[name] = (str(description.topic_id), len(description.partitions))
        return known

    def ends(self, parts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the end offset of each partition, asked of the broker now: the offset behind what readers of committed records see."""
        if not parts:
            return {}
        try:
            return self._ends(parts)
        except KafkaException:
            # The client asks with the leader epoch it knows, and keeps it (2.16: for 15 minutes) though the broker says it is an old one.
            self._admin.list_topics(timeout=_TIMEOUT_SECONDS)
            return self._ends(parts)

    def _ends(self, parts: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(*part): latest for part in parts}
        answers = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT_SECONDS
        )
        return {(p.topic, p.partition): answer.result().offset for p, answer in answers.items()}
