"""The thread a plain handler runs on: it handles the records it is given, in order, and publishes what came of them.

Owned by a Worker, whose own thread keeps the subscription alive meanwhile. It touches no subscription.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Thread

from millrace.dead_letters import FOR, addressee, dead_letter
from millrace.envelope import decode
from millrace.errors import MillraceError, Postponed, Undecodable
from millrace.handling import Delivery, HandlerFunc, current_delivery
from millrace.message import Record
from millrace.observability.in_hand import in_hand
from millrace.pubsub import Outgoing, Publisher

log = logging.getLogger(__name__)

Place = tuple[str, int]
Lane = tuple[str, int] | tuple[str, int, bytes | int]
"""What keeps its order: a partition, or a key in it. A record without a key is alone in its lane."""


def partition_of(record: Record) -> Lane:
    """Return the partition as a record's lane."""
    return record.topic, record.partition


def key_of(record: Record) -> Lane:
    """Return the key as a record's lane."""
    return record.topic, record.partition, record.offset if record.key is None else record.key


@dataclass(slots=True)
class Outcome:
    """What became of records: `done` once their outputs are published, the first that `failed` or was `postponed`, by so many seconds, of
    each lane, and those `left`.

    What stands behind a failed or postponed record in its lane is in none of them.
    """

    done: list[Record] = field(default_factory=list)
    failed: list[Record] = field(default_factory=list)
    postponed: list[tuple[Record, float]] = field(default_factory=list)
    left: list[Record] = field(default_factory=list)


class HandlerThread:
    """Handles one batch at a time. All methods are called by the worker's thread, `interrupt` by any."""

    def __init__(
        self,
        name: str,
        handler: HandlerFunc,
        publisher: Publisher | None,
        dead_letters: Publisher | None,
        lane_of: Callable[[Record], Lane] = partition_of,
    ) -> None:
        self.busy = False
        self._name = name
        self._handler = handler
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._lane_of = lane_of
        self._interrupted = Event()
        self._batches: SimpleQueue[Sequence[Record] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._outcome: Outcome | None = None
        self._thread = Thread(target=self._run, name=f"handler-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self, records: Sequence[Record]) -> None:
        """Have records handled; there must be at least one. Call `outcome` until it says what became of them."""
        self._interrupted.clear()
        self._outcome = None
        self.busy = True
        self._batches.put(records)

    def interrupt(self) -> None:
        """Have it end behind the message in hand."""
        self._interrupted.set()

    def outcome(self, timeout_seconds: float) -> Outcome | None:
        """Return what became of the records, the same until the next `begin`; None if they are not done within `timeout_seconds`.

        Raises what made the handler end its thread, as sys.exit does.
        """
        if self.busy:
            with suppress(Empty):
                ended = self._outcomes.get(timeout=timeout_seconds)
                self.busy = False
                if isinstance(ended, BaseException):
                    raise MillraceError(f"handler {self._name} ended its thread: {ended!r}") from ended
                self._outcome = ended
        return self._outcome

    def end(self) -> None:
        """End the thread behind what it has in hand."""
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (records := self._batches.get()) is not None:
            try:
                self._outcomes.put(self._process(records))
            except BaseException as fault:  # noqa: BLE001 - raised again in the worker's thread
                self._outcomes.put(fault)

    def _process(self, records: Sequence[Record]) -> Outcome:
        outcome, outputs = self._handle(records)
        if outputs:
            try:
                self._publish(outputs)
            except Exception as refused:  # noqa: BLE001 - whatever the publisher raises, nothing of this batch may be acknowledged
                log.error("outputs not published", extra={"handler": self._name, "reason": str(refused)})
                return Outcome(failed=[*outcome.done, *outcome.failed], postponed=outcome.postponed, left=outcome.left)
        return outcome

    def _handle(self, records: Sequence[Record]) -> tuple[Outcome, list[Outgoing]]:
        """Return what became of the records, and the outputs of those that are done."""
        outcome = Outcome()
        done = outcome.done
        held: set[Lane] = set()
        outputs: list[Outgoing] = []
        delivery = Delivery(self._name, records[0], self._interrupted)
        token, subject = current_delivery.set(delivery), in_hand.set(delivery)
        handler, lane_of, interrupted = self._handler, self._lane_of, self._interrupted.is_set
        for number, record in enumerate(records):
            if interrupted():
                outcome.left = [record for record in records[number:] if lane_of(record) not in held]
                break
            if held and lane_of(record) in held:
                continue
            delivery.record = record
            delivery.attempts = 1
            try:
                message = decode(record)
                if message.headers.get(FOR, self._name) == self._name:
                    outputs.extend(handler(message))
            except Postponed as later:
                outcome.postponed.append((record, later.seconds))
                held.add(lane_of(record))
                continue
            except Exception as error:
                if not self._buried(record, error):
                    log.error("message failed", extra=_where(self._name, record, error), exc_info=error)
                    outcome.failed.append(record)
                    held.add(lane_of(record))
                    continue
            done.append(record)
        current_delivery.reset(token)
        in_hand.reset(subject)
        return outcome, outputs

    def _publish(self, outputs: Sequence[Outgoing]) -> None:
        if self._publisher is None:
            raise TypeError(f"handler {self._name} returned messages, and was given no publisher")
        self._publisher.publish(outputs)

    def _buried(self, record: Record, error: Exception) -> bool:
        """Publish a record that is no valid message to its dead letter topic; return False for other errors, or if that failed.

        One sent again for another handler is not this one's to bury.
        """
        if isinstance(error, Undecodable) and addressee(record) not in (None, self._name):
            return True
        if not isinstance(error, Undecodable) or self._dead_letters is None:
            return False
        try:
            self._dead_letters.publish([dead_letter(record, error, handler=self._name, attempts=1)])
        except Exception as refused:  # noqa: BLE001 - then the record stays where it is and comes again
            log.error("dead letter not published", extra=_where(self._name, record, refused))
            return False
        log.warning("undecodable record dead-lettered", extra=_where(self._name, record, error))
        return True


def _where(handler: str, record: Record, error: Exception) -> dict[str, str | int]:
    return {
        "handler": handler,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "reason": str(error),
    }
