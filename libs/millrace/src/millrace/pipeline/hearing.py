"""What every instance of a service is told of, beside the one instance that handles it: how caches learn what changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from millrace.kafka.broadcast import Broadcast
from millrace.kafka.config import KafkaConfig
from millrace.message import Record
from millrace.pipeline.engine import Engine


@dataclass(frozen=True, slots=True)
class Hearing:
    """Message types, and what is called with each body, from when the service's group has not handled it yet; often more than once.

    `start_over` is called first, and again whenever some may have been missed. Both must be quick, and safe from any thread. What cannot be
    decoded is left out: handling it is the group's business.
    """

    bodies: Sequence[type[Protobuf]]
    heard: Callable[[Any], object]
    start_over: Callable[[], object]

    def hear(self, body: object) -> None:
        """Pass a body on if it is of these types."""
        if isinstance(body, tuple(self.bodies)):
            self.heard(body)


def broadcast_of(hearing: Hearing, kafka: KafkaConfig, engine: Engine) -> Broadcast:
    """Return what brings a service's instance its messages, not started yet."""

    def hear(record: Record) -> None:
        hearing.hear(engine.decoder.decode(record).body)

    return Broadcast(kafka, engine.group, sorted({route_of(body).topic for body in hearing.bodies}), hear, hearing.start_over)
