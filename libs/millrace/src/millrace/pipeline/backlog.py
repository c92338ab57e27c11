"""Looks now and then at what waits in the store, for the metrics.

Run by the command thread, in every instance: so it sees a backlog also where no relay leads, or the relay is stuck.
"""

import time

from millrace.clock import micros
from millrace.pipeline.engine import Engine
from millrace.store.contract import Session

_COUNT_TO = 10_000
"""Some milliseconds' work. What is beyond is a large backlog, however large; how bad it is its age tells."""


class Backlog:
    """Measures the outbox and the effects of one service's store, at most every `every_seconds`."""

    def __init__(self, engine: Engine, every_seconds: float = 5.0) -> None:
        self._engine = engine
        self._every_seconds = every_seconds
        self._next = 0.0

    def __call__(self, session: Session) -> None:
        """Measure, if it is time to. Raises what the database raises."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_seconds
        with session.transaction() as tx:
            waiting, since = tx.outbox.backlog(_COUNT_TO)
            effects = tx.effects.count(self._engine.group, _COUNT_TO)
        age = 0 if since is None else micros(self._engine.clock()) - since
        self._engine.metrics.backlog(waiting, max(0, age) / 1e6, effects)
