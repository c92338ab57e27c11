"""The Router next to a bare confluent-kafka loop, on one real broker, in the same run.

Both consume 512-byte events from 4 partitions, publish each to another topic with its headers (acks=all, idempotent), and commit. The
Router decodes envelope and payload besides, with correlation, retry, tracing (1 % sampled) and metrics on. Rounds alternate, each over
all events; a round counts from its first event in hand to its last commit. Figure: `ratio_to_bare`, the median of the rounds' ratios.
"""

import argparse
import secrets
from collections.abc import Callable, Sequence
from statistics import median
from threading import Event
from time import perf_counter

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from benchmarks._results import report
from devkit.kafka import KafkaBroker
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.message import TRACEPARENT, Message, Record
from millrace.middleware import HandlerMetrics, Retry, Tracing, correlation
from millrace.pubsub import Outgoing, Subscription
from millrace.router import Router, Source

PARTITIONS = 4
BATCH = 500
PAYLOAD = StringValue(value="x" * 509).SerializeToString()
TYPE = "google.protobuf.StringValue"


def main() -> None:
    """Run the rounds and report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=60_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    assert len(PAYLOAD) == 512
    with KafkaBroker() as broker:
        config = KafkaConfig(broker.bootstrap)
        make_topics(config)
        fill(config, chosen.events)
        rounds = []
        run_bare(config, chosen.events)  # warms the broker, and is not counted
        for number in range(chosen.rounds):
            bare = chosen.events / run_bare(config, chosen.events)
            ours = chosen.events / run_router(config, chosen.events)
            rounds.append((ours / bare, ours, bare))
            print(f"  round {number + 1}: bare {bare:,.0f}/s, router {ours:,.0f}/s, ratio {ours / bare:.2f}", flush=True)
    ratio, ours, bare = (median(column) for column in zip(*rounds, strict=True))
    report(
        "router",
        {
            "ratio_to_bare": round(ratio, 3),
            "router_per_second": round(ours),
            "bare_per_second": round(bare),
            "events": chosen.events,
            "rounds": chosen.rounds,
        },
    )


def make_topics(config: KafkaConfig) -> None:
    """Create the topics."""
    topics = [
        NewTopic(name, num_partitions=PARTITIONS, replication_factor=1) for name in ("bench.in", "bench.bare", "bench.router")
    ]
    admin = AdminClient(config.client_settings())  # its futures live no longer than it
    for future in admin.create_topics(topics, operation_timeout=30).values():
        future.result()


def fill(config: KafkaConfig, events: int) -> None:
    """Publish the events; the trace of one in a hundred is sampled."""
    publisher = KafkaPublisher(config, timeout_seconds=60)
    for start in range(0, events, 5000):
        batch = []
        for number in range(start, min(start + 5000, events)):
            traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{'01' if number % 100 == 0 else '00'}"
            message = Message(TYPE, PAYLOAD, f"key-{number % 1000}", "bench", headers={TRACEPARENT: traceparent})
            batch.append(Outgoing("bench.in", message))
        publisher.publish(batch)
    publisher.close()


def run_bare(config: KafkaConfig, events: int) -> float:
    """Return the seconds a bare loop takes."""
    producer = Producer(config.producer_settings())
    consumer = Consumer({**config.consumer_settings(f"bare-{secrets.token_hex(4)}"), "enable.auto.offset.store": True})
    consumer.subscribe(["bench.in"])
    seen, started = 0, 0.0
    while seen < events:
        messages = consumer.consume(BATCH, 0.1)
        if not messages:
            continue
        started = started or perf_counter()
        for message in messages:
            assert message.error() is None
            producer.produce("bench.bare", message.value(), message.key(), headers=message.headers())
        assert producer.flush(30) == 0
        consumer.commit(asynchronous=True)
        seen += len(messages)
    took = perf_counter() - started
    consumer.close()
    return took


class Timed:
    """A subscriber that notes when the first record came and when the last was acknowledged."""

    def __init__(self, below: KafkaSubscriber, events: int) -> None:
        self._below = below
        self._left = events
        self.started = self.ended = 0.0
        self.done = Event()

    def subscribe(self, topics: Sequence[str], group: str) -> "Timed":
        """Open the subscription below."""
        self._subscription: Subscription = self._below.subscribe(topics, group)
        return self

    def receive(self, max_records: int, timeout_seconds: float) -> Sequence[Record]:
        """Pass on."""
        records = self._subscription.receive(max_records, timeout_seconds)
        if records and not self.started:
            self.started = perf_counter()
        return records

    def ack(self, records: Sequence[Record]) -> None:
        """Pass on, and count."""
        self._subscription.ack(records)
        self._left -= len(records)
        if self._left <= 0:
            self.ended = perf_counter()
            self.done.set()

    def nack(self, records: Sequence[Record], *, delay_seconds: float = 0.0) -> None:
        """Nothing fails here."""
        raise AssertionError(f"{len(records)} records failed")

    def keep_alive(self) -> None:
        """Pass on."""
        self._subscription.keep_alive()

    def before_revoke(self, finish: Callable[[float], None]) -> None:
        """Pass on."""
        self._subscription.before_revoke(finish)

    def close(self) -> None:
        """Pass on."""
        self._subscription.close()


def handle(message: Message) -> Sequence[Outgoing]:
    """Read the event, answer with another."""
    event = StringValue.FromString(message.payload)
    return [Outgoing("bench.router", Message(TYPE, event.SerializeToString(), message.key, "bench"))]


def run_router(config: KafkaConfig, events: int) -> float:
    """Return the seconds the Router takes."""
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    metrics = HandlerMetrics(CollectorRegistry())
    publisher = KafkaPublisher(config)
    timed = Timed(KafkaSubscriber(config), events)
    router = Router(middleware=[Tracing(tracing), metrics.of("bench"), Retry(), correlation])
    router.add_handler("bench", Source(timed, ["bench.in"], f"router-{secrets.token_hex(4)}"), handle, publisher)
    router.start()
    try:
        while not timed.done.wait(1.0):
            router.wait(0.0)
    finally:
        router.close()
        publisher.close()
        tracing.shutdown()
    return timed.ended - timed.started


if __name__ == "__main__":
    main()
