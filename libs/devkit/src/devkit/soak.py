"""Steady load on the whole shop, for long: memory stays flat, tables stay small, and nothing is left over. Run by `make soak`.

PostgreSQL, one process of each service, 25 orders a second for MILLRACE_SOAK_SECONDS. The first third warms up and is not judged. Ends
with 1 and says what grew, or was left.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg

from devkit.load import FinalOrders, Placing, rss_mb, running_shop
from devkit.stack import Stack
from devkit.unread import unread
from devkit.waiting import wait_until
from shopkit.topics import GROUPS

RATE = 25.0
MOST_GROWTH_MB = 6.0
"""Of a process, over the time that is judged, as the straight line through its samples has it: at full length 0.6 kB an order."""
MOST_WAITING = 1000
"""Rows of a queue at any moment: some seconds of what one service sends at this rate."""
QUEUES = ("outbox", "effect", "parked")
LEFT_SECONDS = 60
_COUNTS = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM {table})" for table in (*QUEUES, "timer", "message_id", "message_id_default")
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: when (seconds from the start), each process's memory in MB, and the rows in each service's queues."""

    at: float
    memory_mb: Mapping[str, float]
    waiting: Mapping[str, Mapping[str, int]]


def growth_mb(points: Sequence[tuple[float, float]]) -> float:
    """Return how much a straight line through (seconds, MB) rises from the first to the last of them, by least squares."""
    times, sizes = zip(*points, strict=True)
    middle, size = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    slope: float = sum((at - middle) * (mb - size) for at, mb in points) / spread if spread else 0.0
    return slope * float(times[-1] - times[0])


def grown(samples: Sequence[Sample]) -> list[str]:
    """Return what grew in these samples that must not."""
    growths = {name: growth_mb([(sample.at, sample.memory_mb[name]) for sample in samples]) for name in samples[0].memory_mb}
    found = [f"memory of {name} grew by {growth:.1f} MB" for name, growth in growths.items() if growth > MOST_GROWTH_MB]
    for service in samples[0].waiting:
        most = {queue: max(sample.waiting[service][queue] for sample in samples) for queue in QUEUES}
        bounds = {**dict.fromkeys(QUEUES, MOST_WAITING), "parked": 0}
        found += [f"{rows} rows in {queue} of {service}" for queue, rows in most.items() if rows > bounds[queue]]
    return found


class Watch:
    """Looks at a shop again and again, from a thread of its own, until closed."""

    def __init__(self, stack: Stack, every_seconds: float) -> None:
        self.samples: list[Sample] = []
        self._stack = stack
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._exit = ExitStack()
        self._stores = {
            each.service: self._exit.enter_context(psycopg.connect(each.store_url, autocommit=True)) for each in stack.instances
        }
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def rows(self, service: str) -> dict[str, int]:
        """Return how many rows a service's tables hold now."""
        (row,) = self._stores[service].execute(_COUNTS).fetchall()
        return dict(zip((*QUEUES, "timer", "message_id", "message_id_default"), row, strict=True))

    def positions(self, service: str) -> list[tuple[str, int, int]]:
        """Return topic, partition and next offset of all that a service has read."""
        query = "SELECT topic, part, COALESCE(next_offset, 0) FROM consumer_position"
        return [(topic, part, offset) for topic, part, offset in self._stores[service].execute(query)]

    def end(self) -> list[Sample]:
        """Look no more; return what was seen."""
        self._stopping.set()
        self._thread.join()
        return self.samples

    def close(self) -> None:
        """Give the connections back."""
        self.end()
        self._exit.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            memory = {each.name: rss_mb(self._stack.pid(each.service, each.number)) for each in self._stack.instances}
            waiting = {service: self.rows(service) for service in self._stores}
            self.samples.append(Sample(time.monotonic() - self._begun, memory, waiting))


def left_over(stack: Stack, watch: Watch) -> list[str]:
    """Return what is left that must not be, once no order is under way."""
    found = []
    for group in GROUPS:
        rows, records = watch.rows(group.service), unread(stack.bootstrap, watch.positions(group.service))
        found += [f"{rows[name]} rows in {name} of {group.service}" for name in (*QUEUES, "timer") if rows[name]]
        found += [f"{records} records not read by {group.service}"] if records else []
        if rows["message_id_default"]:
            found.append(
                f"{rows['message_id_default']} message ids of {group.service} in no day's partition, which is what drops them"
            )
    return found


def end_of(stack: Stack, watch: Watch) -> list[str]:
    """Wait until nothing is left over; return what still is after `LEFT_SECONDS`."""
    try:
        wait_until(lambda: not left_over(stack, watch), what="nothing left", timeout_seconds=LEFT_SECONDS, interval_seconds=1)
    except TimeoutError:
        return left_over(stack, watch)
    return []


def show(samples: Sequence[Sample], watch: Watch) -> None:
    """Print what was seen, process by process and queue by queue."""
    for name in samples[0].memory_mb:
        line = [(sample.at, sample.memory_mb[name]) for sample in samples]
        print(f"  {name:16} {line[-1][1]:6.1f} MB, {growth_mb(line):+5.1f} MB over {line[-1][0] - line[0][0]:.0f} s")
    for service in samples[0].waiting:
        most = ", ".join(f"{max(sample.waiting[service][queue] for sample in samples)} {queue}" for queue in QUEUES)
        print(f"  {service:16} at most {most} rows; {watch.rows(service)['message_id']} message ids of this week")


def main() -> int:
    """Soak, and say what became of it."""
    seconds = float(os.environ.get("MILLRACE_SOAK_SECONDS", "600"))
    with running_shop() as stack, ExitStack() as exits:
        final = FinalOrders(stack.bootstrap)
        exits.callback(final.close)
        watch = Watch(stack, max(0.5, seconds / 600))
        exits.callback(watch.close)
        placing = Placing(stack.address("order"))
        asyncio.run(placing.at_rate(RATE, seconds))
        samples = [sample for sample in watch.end() if sample.at >= seconds / 3]
        final.wait_for_all(placing.started)
        faults = [f"{placing.failed} orders were not accepted"] if placing.failed else []
        faults += grown(samples) + end_of(stack, watch)
        show(samples, watch)
    print(f"{len(placing.started)} orders at {RATE:g} a second: {'; '.join(faults) or 'nothing grew, nothing is left'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
