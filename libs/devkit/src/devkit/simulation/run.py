"""Plays a simulation from its seed to the moment when nothing is left to do, and says what then does not hold."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from devkit.simulation.checks import unfit
from devkit.simulation.customers import Wish, contacts_of, draw_wishes, is_declined, shop_for
from devkit.simulation.mishaps import Mishaps, Rates
from devkit.simulation.outside import Bank, Postbox, Van
from devkit.simulation.shop import Shop, open_shop
from millrace.testing.world import World, WorldService

_ORDERS_A_SECOND = 200.0
_LONGEST_TICK_SECONDS = 0.4
_LONGEST_IDLE_TICK_SECONDS = 10.0
_LONGEST_TICK_OF_PARCELS_SECONDS = 3600.0
_LOOK_EVERY = 50
_VASES_IN_ORDERS = 0.02
_LEFT = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM effect), (SELECT count(*) FROM timer), (SELECT count(*) FROM parked)"
_TIMERS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a simulation is given: the same plan gives the same run. It ends without success after `most_seconds` of its own time."""

    seed: int
    orders: int
    rates: Rates = field(default_factory=Rates)
    most_seconds: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to: `faults` says what does not hold; `digest` is of every message in its place, but for random ids."""

    faults: Sequence[str]
    digest: str
    crashes: int
    messages: int
    doubled: int
    seconds: float


class NotAtRest(Exception):
    """Something was still under way at the end of a simulation's time."""


def simulate(plan: Plan) -> Outcome:
    """Play a plan. Raises NotAtRest, naming the seed, where it does not come to its end."""
    chance = Random(plan.seed)
    mishaps = Mishaps(chance, plan.rates)
    bank, van, postbox = Bank(chance, plan.rates, is_declined), Van(chance, plan.rates), Postbox(chance)
    wishes = draw_wishes(chance, plan.orders, _ORDERS_A_SECOND)
    with _uncollected(), World(mishaps) as world:
        shop = open_shop(world, bank, van, postbox, contacts_of(wishes), vases=int(plan.orders * _VASES_IN_ORDERS))
        world.settle()  # until order knows the whole catalogue
        mishaps.begin()
        began = world.clock()
        with _custom(shop, wishes, chance) as served:
            _play(plan, chance, shop, mishaps, served)
        return Outcome(
            faults=unfit(shop, wishes, bank, van, postbox),
            digest=_digest(shop),
            crashes=sum(service.crashes for service in shop.services.values()),
            messages=sum(len(world.broker.records(topic)) for topic in world.broker.topics()),
            doubled=_doubled(shop),
            seconds=(world.clock() - began).total_seconds(),
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile: the broker keeps millions of objects, none of them garbage, and each search through them takes long."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _custom(shop: Shop, wishes: Sequence[Wish], chance: Random) -> Iterator[Callable[[], bool]]:
    """Let the customers in; what is given says whether all are served."""
    tasks = [shop.world.loop.create_task(shop_for(wish, shop.edge, chance)) for wish in wishes]
    yield lambda: all(task.done() for task in tasks)
    for task in tasks:
        task.result()


def _play(plan: Plan, chance: Random, shop: Shop, mishaps: Mishaps, served: Callable[[], bool]) -> None:
    """Let time pass until nothing is left to do. What is then still unread is read in peace: services that crash all the time never rest."""
    ends = shop.world.clock() + timedelta(seconds=plan.most_seconds)
    left: dict[str, tuple[int, ...]] = {}
    while shop.world.clock() < ends:
        longest = _LONGEST_TICK_OF_PARCELS_SECONDS if _only_parcels(left) else _LONGEST_TICK_SECONDS
        tick = longest
        for _ in range(_LOOK_EVERY):
            some = shop.world.tick(timedelta(seconds=chance.uniform(0.001, tick)))
            tick = longest if some else min(2 * tick, max(longest, _LONGEST_IDLE_TICK_SECONDS))
        left = {name: _left(service) for name, service in shop.services.items()}
        if served() and not any(map(any, left.values())):
            if all(service.is_caught_up() for service in shop.services.values()):
                return
            mishaps.end()
    raise NotAtRest(f"seed {plan.seed}: after {plan.most_seconds:.0f} s there is left of outbox, effects, timers, parked: {left}")


def _only_parcels(left: Mapping[str, tuple[int, ...]]) -> bool:
    """Say whether all that is left to do is to wait for parcels to arrive."""
    return bool(left) and {(name, what) for name, of in left.items() for what in range(len(of)) if of[what]} == {
        ("shipping", _TIMERS)
    }


def _left(service: WorldService) -> tuple[int, ...]:
    """Return how much is left in a service's outbox, of its effects and timers, and of what is parked."""
    return tuple(service.read(lambda sql: sql.execute(_LEFT))[0])


def _digest(shop: Shop) -> str:
    digest = hashlib.sha256()
    for topic in shop.world.broker.topics():
        for record in shop.world.broker.records(topic):
            headers = dict(record.headers)
            value = b"" if topic == "notification.sent" else record.value  # it holds an id that comes of a random one
            for part in (topic.encode(), record.key, value, headers.get("ce_type"), headers.get("ce_time")):
                digest.update(part or b"-")
            digest.update(b"%d %d;" % (record.partition, record.offset))
    return digest.hexdigest()


def _doubled(shop: Shop) -> int:
    """Return how many messages the broker holds more than once."""
    ids = [
        (topic, dict(record.headers)["ce_id"])
        for topic in shop.world.broker.topics()
        if not topic.endswith(".dlt")
        for record in shop.world.broker.records(topic)
    ]
    return len(ids) - len(set(ids))
