"""A world: a broker, a clock, and the services that live in it, all on the calling thread."""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from millrace.memory.broker import MemoryBroker
from millrace.memory.publisher import MemoryPublisher
from millrace.pubsub import Outgoing
from millrace.testing.builders import message
from millrace.testing.clock import SkippingClock
from millrace.testing.world.faults import Faults
from millrace.testing.world.loop import SkippingLoop
from millrace.testing.world.service import ServiceSpec, WorldService

P = TypeVar("P", bound=Protobuf)
_MOST_ROUNDS = 10_000
_MICROSECOND = timedelta(microseconds=1)


class World:
    """Time stands still but for `skip` and `tick`. `faults` says what goes wrong: nothing, unless a test says otherwise."""

    def __init__(self, faults: Faults | None = None, *, partitions: int = 6) -> None:
        self.clock = SkippingClock()
        self.broker = MemoryBroker(partitions)
        self.loop = SkippingLoop(self.clock)
        self.services: list[WorldService] = []
        self._faults = faults or Faults()
        self._publisher = MemoryPublisher(self.broker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, spec: ServiceSpec) -> WorldService:
        """Start a service, on a new store in memory."""
        service = WorldService(spec, self.broker, self.clock, self.loop, self._faults)
        self.services.append(service)
        return service

    def publish(self, *bodies: Protobuf) -> None:
        """Send messages from outside, each to its type's topic, in order. They are handled in the next `settle`, `skip` or `tick`."""
        self._publisher.publish([Outgoing(route_of(type(body)).topic, message(body, time=self.clock())) for body in bodies])

    def published(self, kind: type[P]) -> list[P]:
        """Return every message of a type that its topic holds, those of one key in order."""
        name = route_of(kind).type.encode()
        records = self.broker.records(route_of(kind).topic)
        return [kind.FromString(record.value or b"") for record in records if ("ce_type", name) in record.headers]

    def settle(self) -> None:
        """Let everything happen that takes no time. Raises AssertionError where that never ends."""
        for _ in range(_MOST_ROUNDS):
            if not self._round():
                return
        raise AssertionError("the world does not come to rest")

    def skip(self, duration: timedelta) -> None:
        """Let that much time pass, and happen all that it brings, in its order."""
        until = self.clock() + duration
        self.settle()
        while (due := self._next_due()) is not None and due <= until - self.clock():
            self.clock.skip(due)
            self.settle()
        self.clock.skip(until - self.clock())
        self.settle()

    def tick(self, duration: timedelta) -> bool:
        """Let a little time pass and give every service one turn, come what may; return whether anything happened."""
        self.clock.skip(duration)
        return self._round()

    def close(self) -> None:
        """Give up all stores."""
        for service in self.services:
            service.close()
        self.loop.close()

    def _round(self) -> bool:
        some = [service.turn() for service in self._faults.ordered(self.services)]
        ran = self.loop.run_due()
        if self.loop.failures:
            raise AssertionError("a task failed") from self.loop.failures[0]
        return ran or any(some)

    def _next_due(self) -> timedelta | None:
        now = self.clock()
        due: Sequence[timedelta | None] = [
            self.loop.next_due(),
            *(None if at is None else at - now for at in (service.next_due() for service in self.services)),
        ]
        return min((max(wait, _MICROSECOND) for wait in due if wait is not None), default=None)
