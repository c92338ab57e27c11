"""Which partitions of a consumer are paused: those given back with a delay, each for a time, and all of them while it only stays alive.

Used by the subscription, in its one thread. Pausing throws away what was fetched ahead, so nothing is paused twice.
"""

from time import monotonic

from confluent_kafka import Consumer, TopicPartition

Place = tuple[str, int]

_LONG_SECONDS = 3600.0


class Pauses:
    """Pauses and resumes assigned partitions. `holding` tells whether all of them are to stay paused, new ones included."""

    def __init__(self, consumer: Consumer) -> None:
        self.holding = False
        self._consumer = consumer
        self._held: list[Place] = []
        self._resume_at: dict[Place, float] = {}

    def rest(self, place: Place, seconds: float) -> None:
        """Pause a partition for so long."""
        self._consumer.pause([TopicPartition(*place)])
        self._resume_at[place] = monotonic() + seconds

    def hold(self) -> None:
        """Pause everything until the next `resume_due`, unless that is so already."""
        if not self.holding:
            self.holding = True
            self._consumer.pause(self._awake())

    def resume_due(self) -> float:
        """Resume what is not to rest any longer; return the seconds until the next partition is due."""
        if self.holding:
            self.holding = False
            self._consumer.resume(self._awake())
        if not self._resume_at:
            return _LONG_SECONDS
        now = monotonic()
        due = [place for place, at in self._resume_at.items() if at <= now]
        for place in due:
            del self._resume_at[place]
        self._consumer.resume([TopicPartition(*place) for place in due])
        return max(0.0, min(self._resume_at.values(), default=now + _LONG_SECONDS) - now)

    def forget(self, place: Place) -> None:
        """Note that a partition is no longer assigned."""
        self._resume_at.pop(place, None)

    def _awake(self) -> list[TopicPartition]:
        return [p for p in self._consumer.assignment() if (p.topic, p.partition) not in self._resume_at]
