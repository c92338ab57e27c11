"""A producer over the broker in memory, for the relay's `Dispatch`: messages are under way for a time, and reports may get lost."""

import heapq
import itertools
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import KafkaError

from millrace.clock import Clock
from millrace.kafka.producer import DeliveryReport
from millrace.memory.broker import MemoryBroker, WireHeaders
from millrace.testing.world.faults import Crash, Delivery, Faults


@dataclass(frozen=True, slots=True)
class _Flight:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: WireHeaders
    report: DeliveryReport
    delivery: Delivery


class WorldProducer:
    """Keeps the promises of `millrace.outbox.dispatch.RelayProducer`, in no time but what `Faults.delivery` says."""

    broken = False

    def __init__(self, broker: MemoryBroker, service: str, clock: Clock, faults: Faults) -> None:
        self._broker = broker
        self._service = service
        self._clock = clock
        self._faults = faults
        self._flights: list[tuple[datetime, int, _Flight]] = []
        self._numbers = itertools.count()
        self.moved = 0
        """How many messages were sent, and how many reports given."""

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
        """Send one message on its way."""
        delivery = self._faults.delivery(topic, key)
        due = self._clock() + delivery.after
        self.moved += 1
        heapq.heappush(self._flights, (due, next(self._numbers), _Flight(topic, key, value, headers, on_delivery, delivery)))

    def poll(self, timeout_seconds: float = 0.0) -> int:
        """Let arrive what is due by now, and report it; return how much that was."""
        arrived = 0
        now = self._clock()
        while self._flights and self._flights[0][0] <= now:
            flight = heapq.heappop(self._flights)[2]
            arrived += 1
            self.moved += 1
            if flight.delivery.arrives:
                self._append(flight)
            if self._faults.crashes(self._service, "behind a message sent"):
                raise Crash(f"{self._service} behind a message sent")
            lost = not (flight.delivery.arrives and flight.delivery.reported)
            flight.report(KafkaError(KafkaError._MSG_TIMED_OUT) if lost else None, None)
        return arrived

    def flush(self, timeout_seconds: float) -> int:
        """Let arrive what is due by now; return how many messages are still under way."""
        self.poll()
        return len(self._flights)

    def crash(self) -> None:
        """End without a word: of what is under way, some arrives nevertheless."""
        for _, _, flight in sorted(self._flights, key=lambda entry: entry[:2]):
            if flight.delivery.arrives and self._faults.arrives_nevertheless():
                self._append(flight)
        self._flights.clear()

    def next_due(self) -> datetime | None:
        """Return when the next message arrives; None if none is under way."""
        return self._flights[0][0] if self._flights else None

    def probe(self, timeout_seconds: float) -> None:
        """Do nothing: this broker is always there."""

    def topic_fault(self, topic: str, timeout_seconds: float) -> str | None:
        """Return None: every topic takes messages here."""
        return None

    def explain(self, what: str) -> str:
        """Return `what`."""
        return what

    def _append(self, flight: _Flight) -> None:
        self._broker.append(flight.topic, flight.key, flight.value, flight.headers)
