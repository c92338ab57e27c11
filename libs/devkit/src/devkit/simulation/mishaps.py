"""What goes wrong in a simulation, drawn from its one source of chance."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from random import Random
from typing import TypeVar

from millrace.testing.world import Delivery, Faults

T = TypeVar("T")
_AT_ONCE = Delivery()


@dataclass(frozen=True, slots=True)
class Rates:
    """How often what goes wrong, from 0 to 1."""

    crash_at_commit: float = 0.004
    crash_at_send: float = 0.0003
    long_absence: float = 0.05
    late: float = 0.3
    very_late: float = 0.01
    unreported: float = 0.01
    lost: float = 0.005
    idle: float = 0.1
    reread: float = 0.1
    trouble_outside: float = 0.1


_NONE = Rates(*[0.0] * len(fields(Rates)))


class Mishaps(Faults):
    """Draws every fault. The same chance and the same questions give the same faults."""

    def __init__(self, chance: Random, rates: Rates) -> None:
        self._chance = chance
        self._rates = _NONE
        self._given = rates

    def begin(self) -> None:
        """Let things go wrong from now on."""
        self._rates = self._given

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self._rates = _NONE

    def crashes(self, service: str, where: str) -> bool:
        rate = self._rates.crash_at_send if where == "behind a message sent" else self._rates.crash_at_commit
        return self._chance.random() < rate

    def stays_down(self, service: str) -> timedelta:
        if self._chance.random() < self._rates.long_absence:
            return timedelta(seconds=self._chance.uniform(60, 400))
        return timedelta(seconds=self._chance.uniform(0.1, 20))

    def delivery(self, topic: str, key: bytes | None) -> Delivery:
        draw, rates = self._chance.random(), self._rates
        if draw < rates.lost:
            return Delivery(timedelta(seconds=5), arrives=False)
        if (draw := draw - rates.lost) < rates.unreported:
            return Delivery(timedelta(seconds=self._chance.uniform(0, 5)), reported=False)
        if (draw := draw - rates.unreported) < rates.very_late:
            return Delivery(timedelta(seconds=self._chance.uniform(2, 30)))
        if draw - rates.very_late < rates.late:
            return Delivery(timedelta(seconds=self._chance.uniform(0, 2)))
        return _AT_ONCE

    def arrives_nevertheless(self) -> bool:
        return self._chance.random() < 0.5

    def idles(self, service: str) -> bool:
        return self._chance.random() < self._rates.idle

    def takes(self, most: int) -> int:
        draw = self._chance.random()
        return most if draw < 0.7 else 0 if draw < 0.85 else self._chance.randint(1, most)

    def rereads(self, offset: int) -> int:
        if self._chance.random() < self._rates.reread:
            return max(0, offset - self._chance.randint(0, 20))
        return offset

    def ordered(self, items: Sequence[T]) -> Sequence[T]:
        return self._chance.sample(items, len(items))
