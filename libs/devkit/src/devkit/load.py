"""Load for benchmarks and `make soak`: a shop on PostgreSQL, orders placed over gRPC, and when each of them is final."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import psutil
import psycopg
from confluent_kafka import Consumer

from devkit.stack import Stack, StackSettings
from shop.inventory.v1 import inventory_service_pb2 as inventory
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.order.v1 import order_service_pb2 as order
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1.money_pb2 import Money

if TYPE_CHECKING:
    from shop.order.v1.order_service_pb2_grpc import OrderServiceAsyncStub

GATEWAY_DELAY_MS = 20
_PRICES = {"teapot": 2499, "kettle": 4999, "mug": 899}
_STOCK = 10_000_000
_FINAL_TOPICS = ["order.completed", "order.cancelled"]
_BOUND_SECONDS = 1800.0


@contextmanager
def running_shop() -> Iterator[Stack]:
    """Start a shop on PostgreSQL with fsync and synchronous_commit on, with stock for every order."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        env = {"payment": {"PAYMENT_GATEWAY_DELAY_MS": str(GATEWAY_DELAY_MS)}, "*": {"MILLRACE_LOG_LEVEL": "WARNING"}}
        with Stack(StackSettings(folder=Path(folder), store="postgresql", env=env), say=print) as stack:
            assert stack.postgres is not None
            _check_durable(stack.postgres.url)
            asyncio.run(_fill_stock(stack.address("inventory")))
            asyncio.run(Placing(stack.address("order")).once_the_catalogue_is_there())
            yield stack


def _check_durable(url: str) -> None:
    with psycopg.connect(url) as connection:
        for name in ("fsync", "synchronous_commit"):
            row = connection.execute(f"SHOW {name}").fetchone()
            assert row == ("on",), f"{name} is {row}"


async def _fill_stock(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = InventoryServiceStub(channel)
        for item in _PRICES:
            await stub.SetStock(inventory.SetStockRequest(item_id=item, on_hand=_STOCK), wait_for_ready=True, timeout=60)


class FinalOrders:
    """Notes when each order is final, by reading the two topics that say so in a thread of its own."""

    def __init__(self, bootstrap: str) -> None:
        self.at: dict[str, float] = {}
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bootstrap,))
        self._thread.start()
        assert self._ready.wait(60), "no partitions assigned"

    def _run(self, bootstrap: str) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"bench-{uuid4()}",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            }
        )
        consumer.subscribe(_FINAL_TOPICS, on_assign=lambda *_: self._ready.set())
        while not self._stopping.is_set():
            for message in consumer.consume(1000, 0.02):
                if message.error() is None:
                    self.at.setdefault((message.key() or b"").decode(), time.perf_counter())
        consumer.close()

    def wait_for_all(self, orders: Collection[str]) -> None:
        """Return once all these orders are final. Raises AssertionError after half an hour."""
        until = time.monotonic() + _BOUND_SECONDS
        while missing := sum(order_id not in self.at for order_id in orders):
            assert time.monotonic() < until, f"{missing} of {len(orders)} orders are not final"
            time.sleep(0.05)

    def close(self) -> None:
        """Stop reading."""
        self._stopping.set()
        self._thread.join()


@dataclass(slots=True)
class Placing:
    """Places orders and notes when each was meant to be placed."""

    address: str
    started: dict[str, float] = field(default_factory=dict)
    failed: int = 0

    async def once_the_catalogue_is_there(self) -> None:
        """Place one order for each item, as soon as the order service has heard of them all."""
        until = time.monotonic() + 60
        while len(self.started) < len(_PRICES):
            assert time.monotonic() < until, "the catalogue did not arrive"
            await self.at_once(len(_PRICES) - len(self.started), 1)
            await asyncio.sleep(0.1)

    async def at_once(self, count: int, concurrency: int) -> None:
        """Place `count` orders as fast as `concurrency` callers can."""
        numbers = iter(range(count))
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub = OrderServiceStub(channel)

            async def caller() -> None:
                for number in numbers:
                    await self._place(stub, number, time.perf_counter())

            await asyncio.gather(*(caller() for _ in range(concurrency)))

    async def at_rate(self, per_second: float, seconds: float) -> None:
        """Place orders at fixed times, whether or not earlier ones were answered (open loop)."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub = OrderServiceStub(channel)
            begin = time.perf_counter()
            tasks = []
            for number in range(round(per_second * seconds)):
                due = begin + number / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.append(asyncio.create_task(self._place(stub, number, due)))
            await asyncio.gather(*tasks)

    async def _place(self, stub: "OrderServiceAsyncStub", number: int, due: float) -> None:
        item = list(_PRICES)[number % len(_PRICES)]
        line = order.OrderLine(item_id=item, quantity=1 + number % 3, price=Money(currency="EUR", minor_units=_PRICES[item]))
        request = order.PlaceOrderRequest(customer_id=str(uuid4()), idempotency_key=str(uuid4()), items=[line])
        try:
            answer = await stub.PlaceOrder(request, timeout=60)
        except grpc.aio.AioRpcError:
            self.failed += 1
            return
        self.started[answer.order_id] = due


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time that processes have used so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(t.user + t.system for t in times)


def unfinished_sagas(store_url: str) -> int:
    """Return how many sagas are neither completed nor compensated."""
    with psycopg.connect(store_url) as connection:
        row = connection.execute(
            "SELECT count(*) FILTER (WHERE type = 'SagaStarted') - "
            "count(*) FILTER (WHERE type IN ('SagaCompleted', 'SagaCompensated')) FROM event"
        ).fetchone()
    return int(row[0]) if row else 0


def rss_mb(pid: int) -> float:
    """Return a process's resident memory in MB (2**20 bytes)."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20
