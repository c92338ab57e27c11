"""The relay: publishes the outbox, in order, for as long as it leads.

One relay a store works at a time. A successor of a relay that did not leave cleanly waits until nothing of it can still be under way. How
the outbox is sent is in `dispatch`.
"""

import logging
import threading
import time

from millrace.clock import Clock, utc_now
from millrace.kafka.config import KafkaConfig
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.outbox.dispatch import Dispatch
from millrace.pipeline.metrics import PipelineMetrics
from millrace.store.contract import Lease, Store
from millrace.store.faults import Fault, classify

log = logging.getLogger(__name__)


class Relay:
    """Publishes one store's outbox until stopped."""

    def __init__(
        self,
        config: RelayConfig,
        kafka: KafkaConfig,
        store: Store,
        health: Health,
        metrics: PipelineMetrics,
        clock: Clock = utc_now,
    ) -> None:
        self._config = config
        self._store = store
        self._health = health
        self._dispatch = Dispatch(config, kafka, health, metrics, clock)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay")
        self._grace_seconds = kafka.message_timeout_seconds + 1
        self._silence_seconds = max(config.silence_seconds, 3 * self._grace_seconds, 3 * config.sweep_seconds)

    def start(self) -> None:
        """Begin to publish; waits for the lease, the database and the broker as long as it takes."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something in the outbox. From any thread."""
        self._wake.set()

    def stop(self) -> None:
        """Publish what is there, wait for its delivery as long as the broker may take, and give the lease back.

        Ends within twice that time, whatever is left in the outbox: the next relay publishes it.
        """
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                lease = self._store.try_lease(self._silence_seconds)
            except Exception as error:
                self._database_fault(error)
                lease = None
            if lease is None:
                self._dispatch.probe()
                self._follow()
                continue
            stop_listening = self._store.listen(self.wake)
            try:
                clean = self._lead(lease)
            finally:
                stop_listening()
            if clean:
                lease.release()
            else:
                lease.abandon()

    def _follow(self) -> None:
        """Pass on to the relay that leads, in another process, that there is something to publish; until it is time to try to lead."""
        until = time.monotonic() + self._config.sweep_seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if self._wake.wait(left) and not self._stopping.is_set():
                self._wake.clear()
                try:
                    self._store.wake_relay()
                except Exception as error:
                    self._database_fault(error)

    def _lead(self, lease: Lease) -> bool:
        """Publish for as long as the lease holds; return whether nothing is left under way."""
        log.info("relay leads", extra={"predecessor_left_cleanly": lease.predecessor_left_cleanly})
        if not lease.predecessor_left_cleanly and self._stopping.wait(self._grace_seconds):
            return False
        self._dispatch.begin()
        next_round = 0.0
        try:
            while not self._stopping.is_set():
                self._stopping.wait(next_round - time.monotonic())
                next_round = time.monotonic() + self._config.pace_seconds
                self._wake.clear()
                if not self._dispatch.round(lease.session):
                    self._dispatch.probe()
                    self._wake.wait(self._config.sweep_seconds)
            self._finish(lease)
        except Exception as error:
            self._database_fault(error)
        return self._dispatch.drain()

    def _finish(self, lease: Lease) -> None:
        """Publish what is left, while the broker takes it: what it gives no answer for is the next relay's."""
        until = time.monotonic() + self._grace_seconds
        while self._dispatch.round(lease.session) and self._dispatch.answered and time.monotonic() < until:
            pass
        self._dispatch.settle(lease.session)

    def _database_fault(self, error: Exception) -> None:
        if classify(error) is Fault.BUG:
            log.error("relay starts over", exc_info=error)
        else:
            log.warning("relay waits for the database", extra={"reason": str(error)})
            self._health.report("database", False, str(error))
        self._stopping.wait(self._config.sweep_seconds)
