"""Services, their broker and their stores in one process and on one thread, under a clock that skips: hours pass in milliseconds.

What decides, publishes and remembers is what runs in production: engine, stores, timers, command queue, outbox dispatch, reactors. In
place of Kafka stands `MemoryBroker`, in place of threads `World`, which gives each part its turn; so a run is the same each time. With
`Faults` of one's own, services crash between any two transactions and messages come late, twice and out of order. See docs/testing.md.
"""

from millrace.testing.world.faults import Crash, Delivery, Faults
from millrace.testing.world.loop import SkippingLoop
from millrace.testing.world.service import ServiceSpec, WorldService
from millrace.testing.world.world import World

__all__ = ["Crash", "Delivery", "Faults", "ServiceSpec", "SkippingLoop", "World", "WorldService"]
