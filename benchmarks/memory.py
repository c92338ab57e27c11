"""How much memory the services hold: idle, and a minute after the load of `shop`."""

import asyncio
import os
import time

from benchmarks._results import report
from devkit.load import FinalOrders, Placing, rss_mb, running_shop

CONCURRENCY = 128
SETTLE_SECONDS = 60.0


def main() -> None:
    """Measure and report."""
    orders = int(os.environ.get("MILLRACE_BENCH_ORDERS", "20000"))
    with running_shop() as stack:
        services = {each.name: stack.pid(each.service, each.number) for each in stack.instances}
        idle = {name: rss_mb(pid) for name, pid in services.items()}
        final = FinalOrders(stack.bootstrap)
        try:
            placing = Placing(stack.address("order"))
            asyncio.run(placing.at_once(orders, CONCURRENCY))
            assert placing.failed == 0, f"{placing.failed} orders were not accepted"
            final.wait_for_all(placing.started)
        finally:
            final.close()
        time.sleep(SETTLE_SECONDS)
        loaded = {name: rss_mb(pid) for name, pid in services.items()}
    report(
        "memory",
        {
            "max_rss_mb": round(max(loaded.values()), 1),
            "idle_rss_mb": round(max(idle.values()), 1),
            **{f"{name}_idle_mb": round(mb, 1) for name, mb in idle.items()},
            **{f"{name}_loaded_mb": round(mb, 1) for name, mb in loaded.items()},
        },
    )


if __name__ == "__main__":
    main()
