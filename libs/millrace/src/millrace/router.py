"""Runs plain handlers: from a subscription through middleware to a publisher, each with threads of its own.

For handlers without a stored state; those with one run on `millrace.pipeline`. Built by a program's bootstrap. It is told brokers
as Publisher and Subscriber and knows nothing of Kafka.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from millrace.handling import ConsumerFunc, HandlerFunc, Middleware
from millrace.message import Message
from millrace.pubsub import Outgoing, Publisher, Subscriber, Subscription, TransactionalSubscriber, TransactionalSubscription
from millrace.settlement import Acknowledging, Settlement, Transacting
from millrace.worker import Backoff, Worker, WorkerSettings

__all__ = ["DuplicateHandler", "Router", "RouterSettings", "Source", "TransactionalSource"]


class DuplicateHandler(ValueError):
    """A handler of this name was added before."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a handler's messages come from: topics, read as a member of a group."""

    subscriber: Subscriber
    topics: Sequence[str]
    group: str


@dataclass(frozen=True, slots=True)
class TransactionalSource:
    """Where a transactional handler's messages come from; its outputs go to the same cluster."""

    subscriber: TransactionalSubscriber
    topics: Sequence[str]
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """How handlers are run.

    `max_records` bounds a batch. One that is not done after `patience_seconds` ends behind the message in hand: what is done is
    acknowledged, the rest comes again at once, and batches get smaller. A message may take as long as it likes: its partitions pause
    meanwhile, and the member stays in the group. A message that failed comes again after `backoff_seconds`, doubled each time up to
    `max_backoff_seconds`. `dead_letters` takes records that are no valid messages; without it they fail like any other.

    With a `concurrency` above 1 each handler, which must then be safe to call from several threads, handles so many messages at once, of
    different keys. Order is kept by key, not by partition: a failing message holds its key alone, and the others of its partition flow on
    as far as a batch reaches. What is done behind it is not handled again here, but will be by the next owner of the partition. Raises
    ValueError for a concurrency below 1.
    """

    max_records: int = 500
    poll_seconds: float = 0.2
    patience_seconds: float = 1.0
    concurrency: int = 1
    backoff_seconds: float = 0.1
    max_backoff_seconds: float = 30.0
    dead_letters: Publisher | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"a concurrency of {self.concurrency} handles nothing")


class Router:
    """Connects handlers to topics. Safe to call from several threads; handlers may be added and stopped while others run.

    A message is acknowledged once its outputs are published. If a handler fails, the messages before it in its partition stand, it and
    those behind it come again after a back-off (with `concurrency` those of its key), and other partitions flow on; one that raises
    Postponed did not fail, and comes again when it says. If publishing fails the batch is handled again, so an output can appear twice
    under two ids unless the handler derives them from the message's id.
    """

    def __init__(self, settings: RouterSettings | None = None, middleware: Sequence[Middleware] = ()) -> None:
        """Middleware given here wraps that of each handler; in a list the first is the outermost."""
        self._settings = settings or RouterSettings()
        self._middleware = tuple(middleware)
        self._workers: dict[str, Worker] = {}
        self._lock = Lock()
        self._started = False
        self._closed = False

    def add_handler(
        self, name: str, source: Source, handler: HandlerFunc, publisher: Publisher | None, middleware: Sequence[Middleware] = ()
    ) -> None:
        """Add a handler whose outputs go to `publisher`; it starts at once if the router runs. Raises DuplicateHandler."""

        def subscribe() -> Subscription:
            return source.subscriber.subscribe(source.topics, source.group)

        self._add(name, Acknowledging(subscribe, publisher, self._settings.dead_letters), handler, middleware)

    def add_transactional_handler(
        self, name: str, source: TransactionalSource, handler: HandlerFunc, middleware: Sequence[Middleware] = ()
    ) -> None:
        """Add a handler whose outputs and positions are one transaction: readers of committed records see each output exactly once.

        What the handler does elsewhere is not part of it. With `dead_letters` set, records that are no valid messages are dead-lettered
        in the transaction too, and not through that publisher. Raises DuplicateHandler, and ValueError for a `concurrency` above 1: a
        position cannot tell of records that are done behind one that failed.
        """
        if self._settings.concurrency > 1:
            raise ValueError("a transactional handler takes one message at a time: set no concurrency")

        def subscribe() -> TransactionalSubscription:
            return source.subscriber.subscribe(source.topics, source.group)

        self._add(name, Transacting(name, subscribe, dead_letters=self._settings.dead_letters is not None), handler, middleware)

    def _add(self, name: str, settlement: Settlement, handler: HandlerFunc, middleware: Sequence[Middleware]) -> None:
        chain = handler
        for wrap in reversed((*self._middleware, *middleware)):
            chain = wrap(chain)
        settings = WorkerSettings(
            max_records=self._settings.max_records,
            poll_seconds=self._settings.poll_seconds,
            patience_seconds=self._settings.patience_seconds,
            concurrency=self._settings.concurrency,
            backoff=Backoff(self._settings.backoff_seconds, self._settings.max_backoff_seconds),
        )
        worker = Worker(name, settlement, chain, settings)
        with self._lock:
            if self._closed:
                raise RuntimeError("the router is closed")
            if name in self._workers:
                raise DuplicateHandler(name)
            self._workers[name] = worker
            if self._started:
                worker.start()

    def add_consumer_handler(
        self, name: str, source: Source, handler: ConsumerFunc, middleware: Sequence[Middleware] = ()
    ) -> None:
        """Add a handler that publishes nothing. Raises DuplicateHandler."""
        self.add_handler(name, source, _without_output(handler), None, middleware)

    def start(self) -> None:
        """Start every handler added so far and return."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the router is closed")
            self._started = True
            for worker in self._workers.values():
                worker.start()

    def running(self) -> Sequence[str]:
        """Return the names of the handlers that run."""
        with self._lock:
            return tuple(name for name, worker in self._workers.items() if worker.is_running())

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return True once no handler runs, False if `timeout_seconds` passed. Raises what made a handler end by itself."""
        give_up_at = None if timeout_seconds is None else monotonic() + timeout_seconds
        ended = True
        for worker in self._all():
            ended = worker.join(None if give_up_at is None else max(0.0, give_up_at - monotonic())) and ended
            if worker.fault is not None:
                raise worker.fault
        return ended

    def stop(self, name: str, timeout_seconds: float = 30.0) -> None:
        """End one handler after the message in hand and forget it. Raises KeyError for an unknown name, TimeoutError."""
        with self._lock:
            worker = self._workers[name]
        self._end([worker], timeout_seconds)
        with self._lock:
            del self._workers[name]

    def close(self, timeout_seconds: float = 30.0) -> None:
        """End every handler after the message in hand: what is done is acknowledged, the groups are left. Raises TimeoutError."""
        with self._lock:
            self._closed = True
        self._end(self._all(), timeout_seconds)

    def _all(self) -> list[Worker]:
        with self._lock:
            return list(self._workers.values())

    @staticmethod
    def _end(workers: Sequence[Worker], timeout_seconds: float) -> None:
        give_up_at = monotonic() + timeout_seconds
        for worker in workers:
            worker.ask_to_stop()
        late = [worker.name for worker in workers if not worker.join(max(0.0, give_up_at - monotonic()))]
        if late:
            raise TimeoutError(f"handlers still running after {timeout_seconds:g} s: {', '.join(late)}")


def _without_output(handler: ConsumerFunc) -> Callable[[Message], Sequence[Outgoing]]:
    def handle(message: Message) -> Sequence[Outgoing]:
        handler(message)
        return ()

    return handle
