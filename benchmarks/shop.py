"""How many orders a second the whole shop brings to their end, and how long one order takes.

Throughput: 20,000 orders placed as fast as they are accepted, until every saga is finished. Latency: an open-loop 25 a second for
5 minutes, from the moment an order was due to be placed to its final state being read from Kafka. Broker, database, the six services and
the load generator, which is this process, share the machine. MILLRACE_BENCH_ORDERS and MILLRACE_BENCH_SECONDS shorten a trial run.
"""

import asyncio
import os
import time

from benchmarks._results import report
from devkit.load import FinalOrders, Placing, cpu_seconds, running_shop, unfinished_sagas
from devkit.stack import Stack

RATE = 25.0
CONCURRENCY = 128


def main() -> None:
    """Measure and report."""
    orders = int(os.environ.get("MILLRACE_BENCH_ORDERS", "20000"))
    seconds = float(os.environ.get("MILLRACE_BENCH_SECONDS", "300"))
    with running_shop() as stack:
        final = FinalOrders(stack.bootstrap)
        try:
            latencies = latency(stack.address("order"), final, seconds)
            figures = throughput(stack, final, orders)
        finally:
            final.close()
    report("shop", {**figures, **latencies})


def latency(address: str, final: FinalOrders, seconds: float) -> dict[str, float | int]:
    """Return percentiles of the time from the moment an order was due to its final state, in milliseconds."""
    placing = Placing(address)
    asyncio.run(placing.at_rate(RATE, seconds))
    assert placing.failed == 0, f"{placing.failed} orders were not accepted"
    final.wait_for_all(placing.started)
    times = sorted((final.at[order_id] - due) * 1000 for order_id, due in placing.started.items())
    return {
        **{f"p{rank}_ms": round(times[int(len(times) * rank / 100)], 1) for rank in (50, 95, 99)},
        "max_ms": round(times[-1], 1),
        "latency_orders": len(times),
    }


def throughput(stack: Stack, final: FinalOrders, orders: int) -> dict[str, float | int]:
    """Return orders a second from the first PlaceOrder until the last saga is finished, and what CPU that took."""
    placing = Placing(stack.address("order"))
    services = [stack.pid(each.service, each.number) for each in stack.instances]
    own, theirs, begin = cpu_seconds([os.getpid()]), cpu_seconds(services), time.perf_counter()
    asyncio.run(placing.at_once(orders, CONCURRENCY))
    accepted = time.perf_counter() - begin
    assert placing.failed == 0, f"{placing.failed} orders were not accepted"
    final.wait_for_all(placing.started)
    while unfinished_sagas(stack.instance("order").store_url):
        time.sleep(0.05)
    took = time.perf_counter() - begin
    return {
        "orders_per_second": round(orders / took, 1),
        "accepted_per_second": round(orders / accepted, 1),
        "orders": orders,
        "load_generator_cpu_seconds": round(cpu_seconds([os.getpid()]) - own, 1),
        "services_cpu_seconds": round(cpu_seconds(services) - theirs, 1),
        "seconds": round(took, 1),
    }


if __name__ == "__main__":
    main()
