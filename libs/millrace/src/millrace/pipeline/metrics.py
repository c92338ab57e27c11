"""What the pipeline counts, as Prometheus metrics; counted once a batch, not once a message. `docs/metrics.md` says what each is for."""

from prometheus_client import Counter, Gauge, Histogram

_MESSAGES = Counter("millrace_pipeline_messages_total", "Inputs decided, by what became of them", ["group", "outcome"])
_BATCHES = Histogram(
    "millrace_pipeline_batch_messages", "Inputs in a batch", ["group"], buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
_OUTBOX = Counter("millrace_outbox_delivered_total", "Outbox messages the broker acknowledged", ["group"])
_WAITING = Gauge("millrace_outbox_messages", "Messages in the outbox; 10000 stands for that many or more", ["group"])
_OLDEST = Gauge("millrace_outbox_oldest_seconds", "Age of the oldest message in the outbox", ["group"])
_REFUSED = Gauge("millrace_outbox_refused_messages", "Messages refused for good, which block their keys", ["group"])
_HELD = Gauge("millrace_outbox_held_topics", "Topics that take no messages, whose own wait", ["group"])
_EFFECTS = Gauge("millrace_effects_pending", "Calls to the outside not done yet; 10000 stands for that many or more", ["group"])
_PARKED = Gauge("millrace_parked_messages", "Messages parked behind a failure", ["group"])
_PARKED_LIMIT = Gauge("millrace_parked_messages_limit", "With that many parked messages nothing is read", ["group"])
_CROWDED = Gauge("millrace_crowded_partitions", "Partitions not read, as too much of one of their keys is parked", ["group"])


class PipelineMetrics:
    """The metrics of one consumer group."""

    def __init__(self, group: str) -> None:
        self._done, self._retried, self._dead, self._duplicate = (
            _MESSAGES.labels(group, outcome) for outcome in ("done", "retried", "dead", "duplicate")
        )
        self._batches = _BATCHES.labels(group)
        self._outbox = _OUTBOX.labels(group)
        self._waiting = _WAITING.labels(group)
        self._oldest = _OLDEST.labels(group)
        self._refused = _REFUSED.labels(group)
        self._held = _HELD.labels(group)
        self._effects = _EFFECTS.labels(group)
        self._parked = _PARKED.labels(group)
        self._parked_limit = _PARKED_LIMIT.labels(group)
        self._crowded = _CROWDED.labels(group)

    def batch(self, done: int, retried: int, dead: int, duplicates: int) -> None:
        """Count one committed batch."""
        self._done.inc(done)
        self._retried.inc(retried)
        self._dead.inc(dead)
        self._duplicate.inc(duplicates)
        self._batches.observe(done + retried + dead + duplicates)

    def delivered(self, count: int) -> None:
        """Count messages the relay delivered."""
        self._outbox.inc(count)

    def held_back(self, refused: int, topics: int) -> None:
        """Tell how many messages this process's relay has been refused for good, and how many topics it holds back."""
        self._refused.set(refused)
        self._held.set(topics)

    def backlog(self, waiting: int, oldest_seconds: float, effects: int) -> None:
        """Tell what waits in the store: messages in the outbox, the age of the oldest, and effects."""
        self._waiting.set(waiting)
        self._oldest.set(oldest_seconds)
        self._effects.set(effects)

    def parked(self, count: int, crowded: int) -> None:
        """Tell how many messages are parked, and how many partitions are not read for a key of theirs."""
        self._parked.set(count)
        self._crowded.set(crowded)

    def parked_limit(self, count: int) -> None:
        """Tell with how many parked messages nothing is read any more."""
        self._parked_limit.set(count)
