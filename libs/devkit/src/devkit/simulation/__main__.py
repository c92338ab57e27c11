"""Plays a simulation of the shop: `make simulate ORDERS=50000 SEED=7`. Without a seed it draws one, and says which."""

import argparse
import logging
import random
import sys
import time

from devkit.simulation.run import Plan, simulate


def main() -> int:
    """Return 0 if everything held, else 1."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {given.orders} orders", flush=True)
    logging.disable(logging.CRITICAL)
    begun = time.monotonic()
    outcome = simulate(Plan(seed, given.orders))
    took = time.monotonic() - begun
    print(
        f"{took:.1f} s for {outcome.seconds:.0f} s of the shop; {outcome.messages} messages, {outcome.doubled} of them doubled; "
        f"{outcome.crashes} crashes; digest {outcome.digest[:16]}"
    )
    for fault in outcome.faults:
        print(f"DOES NOT HOLD  {fault}")
    print("everything holds" if not outcome.faults else f"repeat with: make simulate ORDERS={given.orders} SEED={seed}")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
