"""Measures how long messages take in their handler, and how they end."""

from collections.abc import Sequence
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram

from millrace.errors import Postponed, TransientError
from millrace.handling import HandlerFunc
from millrace.message import Message
from millrace.pubsub import Outgoing

_BUCKETS_SECONDS = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HandlerMetrics:
    """The histogram `millrace_process_duration_seconds{handler}` and the counter `millrace_processed_messages_total{handler, outcome}`.

    Outcomes: done, transient, permanent; a postponed message has none yet. Make one for each registry, and of it one middleware for each
    handler, by `of`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "millrace_process_duration_seconds",
            "Time a message spent in its handler, its middleware within this one included",
            ("handler",),
            registry=registry,
            buckets=_BUCKETS_SECONDS,
        )
        self._processed = Counter(
            "millrace_processed_messages_total", "Messages handled, by outcome", ("handler", "outcome"), registry=registry
        )

    def of(self, name: str) -> "_Measure":
        """Return the middleware for one handler."""
        return _Measure(self._duration.labels(name), [self._processed.labels(name, outcome) for outcome in _OUTCOMES])


_OUTCOMES = ("done", "transient", "permanent")


class _Measure:
    """The children are looked up once: a lookup per message costs as much as the measuring."""

    def __init__(self, duration: Histogram, processed: Sequence[Counter]) -> None:
        self._observe = duration.observe
        self._done, self._transient, self._permanent = (counter.inc for counter in processed)

    def __call__(self, handler: HandlerFunc) -> HandlerFunc:
        """Wrap a handler."""
        observe, done = self._observe, self._done

        def handle(message: Message) -> Sequence[Outgoing]:
            started = perf_counter()
            try:
                outputs = handler(message)
            except Postponed:
                raise
            except Exception as error:
                observe(perf_counter() - started)
                (self._transient if isinstance(error, TransientError) else self._permanent)()
                raise
            observe(perf_counter() - started)
            done()
            return outputs

        return handle
