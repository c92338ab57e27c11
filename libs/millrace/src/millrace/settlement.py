"""How a handler's batch is settled with its broker: published and then acknowledged, or both in one transaction.

Chosen by the Router for each handler, used by its Worker. It knows brokers as Publisher and Subscription only.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol

from millrace.errors import PermanentError, TransientError
from millrace.handler_thread import Outcome
from millrace.pubsub import Publisher, Sendable, Subscription, TransactionalSubscription

log = logging.getLogger(__name__)


class Settlement(Protocol):
    """One handler's border to its broker. All methods are called by the worker's thread."""

    publisher: Publisher | None
    """Where the handler's outputs go."""
    dead_letters: Publisher | None
    """Where records go that are no valid messages."""

    def open(self) -> Subscription:
        """Join the group."""

    def begin(self) -> None:
        """Note that a new batch is in hand."""

    def settle(self, outcome: Outcome) -> Outcome:
        """Settle what is done, and return what really became of the batch. Calling it again for the same batch does nothing."""


class Acknowledging:
    """Outputs are published while the batch is handled; then its records are acknowledged: at least once."""

    def __init__(
        self, subscribe: Callable[[], Subscription], publisher: Publisher | None, dead_letters: Publisher | None
    ) -> None:
        self.publisher = publisher
        self.dead_letters = dead_letters
        self._subscribe = subscribe

    def open(self) -> Subscription:
        """See Settlement."""
        self._subscription = self._subscribe()
        return self._subscription

    def begin(self) -> None:
        """See Settlement."""

    def settle(self, outcome: Outcome) -> Outcome:
        """See Settlement."""
        self._subscription.ack(outcome.done)
        return outcome


class Transacting:
    """Outputs, and with `dead_letters` undecodable records, are gathered while the batch is handled, and leave in one transaction with its
    positions. If that fails, nothing of the batch is done.
    """

    def __init__(self, name: str, subscribe: Callable[[], TransactionalSubscription], *, dead_letters: bool) -> None:
        self._outputs = _Outputs()
        self.publisher: Publisher | None = self._outputs
        self.dead_letters: Publisher | None = self._outputs if dead_letters else None
        self._name = name
        self._subscribe = subscribe
        self._settled: Outcome | None = None

    def open(self) -> Subscription:
        """See Settlement."""
        self._subscription = self._subscribe()
        return self._subscription

    def begin(self) -> None:
        """See Settlement."""
        self._settled = None

    def settle(self, outcome: Outcome) -> Outcome:
        """See Settlement. Raises Fenced where another member has taken this one's place."""
        if self._settled is None:
            outputs = self._outputs.take()
            try:
                self._subscription.commit(outcome.done, outputs)
                self._settled = outcome
            except (TransientError, PermanentError) as failed:
                log.error("transaction not committed", extra={"handler": self._name, "reason": str(failed)})
                failures = [*outcome.done, *outcome.failed]
                self._settled = Outcome(failed=failures, postponed=outcome.postponed, left=outcome.left)
        return self._settled


class _Outputs:
    """A Publisher that keeps what it is given until it is taken."""

    def __init__(self) -> None:
        self._kept: list[Sendable] = []
        self._lock = Lock()

    def publish(self, batch: Sequence[Sendable]) -> None:
        with self._lock:
            self._kept.extend(batch)

    def take(self) -> list[Sendable]:
        with self._lock:
            taken, self._kept = self._kept, []
        return taken

    def close(self) -> None:
        """Nothing is held open."""
