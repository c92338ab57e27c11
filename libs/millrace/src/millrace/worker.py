"""One handler's thread: receive a batch, handle each message, publish what came of it, acknowledge.

Started and stopped by the Router. All calls of the subscription come from this thread.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread

from millrace.dead_letters import dead_letter
from millrace.envelope import decode
from millrace.errors import TransientError, Undecodable
from millrace.handling import Delivery, HandlerFunc, current_delivery
from millrace.message import Record
from millrace.observability.in_hand import in_hand
from millrace.pubsub import Outgoing, Publisher, Subscription

log = logging.getLogger(__name__)

Place = tuple[str, int]


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
    backoff: Backoff
    dead_letters: Publisher | None


class Worker:
    """Runs one handler until it is asked to stop. `fault` is what ended it by itself, if anything did."""

    def __init__(
        self,
        name: str,
        subscribe: Callable[[], Subscription],
        handler: HandlerFunc,
        publisher: Publisher | None,
        settings: WorkerSettings,
    ) -> None:
        self.name = name
        self.fault: Exception | None = None
        self._subscribe = subscribe
        self._handler = handler
        self._publisher = publisher
        self._settings = settings
        self._failures: dict[Place, int] = {}
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=f"handler-{name}", daemon=True)

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

    def join(self, timeout_seconds: float | None) -> bool:
        """Wait for the end of the thread; return False if `timeout_seconds` passed first."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            subscription = self._subscribe()
            try:
                while not self._stopping.is_set():
                    self._round(subscription)
            finally:
                subscription.close()
        except Exception as fault:
            self.fault = fault
            log.critical("handler ended", extra={"handler": self.name}, exc_info=fault)

    def _round(self, subscription: Subscription) -> None:
        try:
            records = subscription.receive(self._settings.max_records, self._settings.poll_seconds)
        except TransientError as away:
            log.warning("nothing received", extra={"handler": self.name, "reason": str(away)})
            self._stopping.wait(self._settings.backoff.first_seconds)
            return
        if not records:
            return
        done, failed, outputs = self._handle(records)
        if outputs:
            try:
                self._publish(outputs)
            except Exception as refused:  # noqa: BLE001 - whatever the publisher raises, nothing of this batch may be acknowledged
                log.error("outputs not published", extra={"handler": self.name, "reason": str(refused)})
                self._give_back(subscription, [*done, *failed])
                return
        subscription.ack(done)
        if self._failures:
            for record in done:
                self._failures.pop((record.topic, record.partition), None)
        if failed:
            self._give_back(subscription, failed)

    def _handle(self, records: Sequence[Record]) -> tuple[list[Record], list[Record], list[Outgoing]]:
        """Return the records that are done, the first that failed of each partition, and the outputs of those that are done."""
        done: list[Record] = []
        failed: dict[Place, Record] = {}
        outputs: list[Outgoing] = []
        delivery = Delivery(self.name, records[0])
        token, subject = current_delivery.set(delivery), in_hand.set(delivery)
        handler, stopping = self._handler, self._stopping
        for record in records:
            if stopping.is_set():
                break
            if failed and (record.topic, record.partition) in failed:
                continue
            delivery.record = record
            delivery.attempts = 1
            try:
                outputs.extend(handler(decode(record)))
            except Exception as error:
                if not self._buried(record, error):
                    log.error("message failed", extra=_where(self.name, record, error), exc_info=error)
                    failed[record.topic, record.partition] = record
                    continue
            done.append(record)
        current_delivery.reset(token)
        in_hand.reset(subject)
        return done, list(failed.values()), outputs

    def _publish(self, outputs: Sequence[Outgoing]) -> None:
        if self._publisher is None:
            raise TypeError(f"handler {self.name} returned messages, and was given no publisher")
        self._publisher.publish(outputs)

    def _buried(self, record: Record, error: Exception) -> bool:
        """Publish a record that is no valid message to its dead letter topic; return False for other errors, or if that failed."""
        if not isinstance(error, Undecodable) or self._settings.dead_letters is None:
            return False
        try:
            self._settings.dead_letters.publish([dead_letter(record, error, handler=self.name, attempts=1)])
        except Exception as refused:  # noqa: BLE001 - then the record stays where it is and comes again
            log.error("dead letter not published", extra=_where(self.name, record, refused))
            return False
        log.warning("undecodable record dead-lettered", extra=_where(self.name, record, error))
        return True

    def _give_back(self, subscription: Subscription, records: Sequence[Record]) -> None:
        by_place: dict[Place, list[Record]] = {}
        for record in records:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        for place, held in by_place.items():
            self._failures[place] = self._failures.get(place, 0) + 1
            subscription.nack(held, delay_seconds=self._settings.backoff.delay_seconds(self._failures[place]))


def _where(handler: str, record: Record, error: Exception) -> dict[str, str | int]:
    return {
        "handler": handler,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "reason": str(error),
    }
