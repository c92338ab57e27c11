"""What the pipeline counts, as Prometheus metrics; counted once a batch, not once a message."""

from prometheus_client import Counter, Gauge, Histogram

_MESSAGES = Counter("millrace_pipeline_messages_total", "Inputs decided, by what became of them", ["group", "outcome"])
_BATCHES = Histogram(
    "millrace_pipeline_batch_messages", "Inputs in a batch", ["group"], buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
_OUTBOX = Counter("millrace_outbox_delivered_total", "Outbox messages the broker acknowledged", ["group"])
_PARKED = Gauge("millrace_parked_messages", "Messages parked behind a failure", ["group"])


class PipelineMetrics:
    """The metrics of one consumer group."""

    def __init__(self, group: str) -> None:
        self._done, self._retried, self._dead, self._duplicate = (
            _MESSAGES.labels(group, outcome) for outcome in ("done", "retried", "dead", "duplicate")
        )
        self._batches = _BATCHES.labels(group)
        self._outbox = _OUTBOX.labels(group)
        self._parked = _PARKED.labels(group)

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

    def parked(self, count: int) -> None:
        """Tell how many messages are parked."""
        self._parked.set(count)
