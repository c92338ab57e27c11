"""One handler's subscription, kept alive on a thread of its own: receive a batch, have it handled, settle what is done.

Started and stopped by the Router. All calls of the subscription come from this thread, and the handler runs on another: however long a
message takes, the member stays in its group.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic

from millrace.errors import TransientError
from millrace.handler_thread import HandlerThread, Outcome, Place
from millrace.handler_threads import HandlerThreads
from millrace.handling import HandlerFunc
from millrace.message import Record
from millrace.pubsub import Subscription
from millrace.settlement import Settlement

log = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays between attempts, up to a maximum."""

    first_seconds: float
    max_seconds: float

    def delay_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, from 1."""
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(failures - 1, 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """See `RouterSettings`."""

    max_records: int
    poll_seconds: float
    patience_seconds: float
    concurrency: int
    backoff: Backoff


class Worker:
    """Runs one handler until it is asked to stop. `fault` is what ended it by itself, if anything did."""

    def __init__(self, name: str, settlement: Settlement, handler: HandlerFunc, settings: WorkerSettings) -> None:
        self.name = name
        self.fault: Exception | None = None
        self._settlement = settlement
        self._handling = HandlerThreads(
            settings.concurrency,
            lambda lane_of: HandlerThread(name, handler, settlement.publisher, settlement.dead_letters, lane_of),
        )
        self._settings = settings
        self._batch_size = settings.max_records
        self._failures: dict[Place, int] = {}
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=f"subscription-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        if self._thread.ident is None:
            self._thread.start()

    def is_running(self) -> bool:
        """Tell whether the thread is alive."""
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Have it end after the message in hand."""
        self._stopping.set()
        self._handling.interrupt()

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end of the thread; return False if `timeout_seconds` passed first."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            subscription = self._settlement.open()
            self._handling.start()
            try:
                subscription.before_revoke(self._finish)
                while not self._stopping.is_set():
                    self._round(subscription)
            finally:
                self._handling.end()
                subscription.close()
        except Exception as fault:
            self.fault = fault
            log.critical("handler ended", extra={"handler": self.name}, exc_info=fault)

    def _round(self, subscription: Subscription) -> None:
        try:
            records = subscription.receive(self._batch_size, self._settings.poll_seconds)
        except TransientError as away:
            log.warning("nothing received", extra={"handler": self.name, "reason": str(away)})
            self._stopping.wait(self._settings.backoff.first_seconds)
            return
        if not records:
            return
        began = monotonic()
        outcome = self._handled(subscription, records)
        self._fit_batch(len(records) - len(outcome.left), monotonic() - began)
        outcome = self._settlement.settle(outcome)
        if self._failures:
            for record in outcome.done:
                self._failures.pop((record.topic, record.partition), None)
        if outcome.failed:
            self._give_back(subscription, outcome.failed)
        for record, seconds in outcome.postponed:
            subscription.nack([record], delay_seconds=seconds)
        if outcome.left:
            subscription.nack(outcome.left)

    def _handled(self, subscription: Subscription, records: Sequence[Record]) -> Outcome:
        """Have records handled. Past the patience the rest is left for the next round, and the message in hand is waited for."""
        self._settlement.begin()
        self._handling.begin(records)
        if self._stopping.is_set():
            self._handling.interrupt()
        outcome = self._handling.outcome(self._settings.patience_seconds)
        if outcome is None:
            self._handling.interrupt()
        while outcome is None:
            subscription.keep_alive()
            outcome = self._handling.outcome(_KEEP_ALIVE_SECONDS)
        return outcome

    def _finish(self, seconds: float) -> None:
        """Wait for the message in hand before partitions go to another member, if `seconds` are enough."""
        if self._handling.busy:
            outcome = self._handling.outcome(seconds)
            if outcome is not None:
                self._settlement.settle(outcome)

    def _fit_batch(self, handled: int, seconds: float) -> None:
        """Size the next batch to take half the patience: whatever is paused and given back is fetched anew."""
        fitting = int(handled / max(seconds, 1e-6) * self._settings.patience_seconds / 2)
        self._batch_size = max(1, min(self._settings.max_records, fitting))

    def _give_back(self, subscription: Subscription, records: Sequence[Record]) -> None:
        by_place: dict[Place, list[Record]] = {}
        for record in records:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        for place, held in by_place.items():
            self._failures[place] = self._failures.get(place, 0) + 1
            subscription.nack(held, delay_seconds=self._settings.backoff.delay_seconds(self._failures[place]))
