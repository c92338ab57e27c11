"""What every store promises: sessions for one thread each, transactions that hold or vanish as a whole.

`Transaction` bundles the parts that commit together. The pipeline opens them; services see only `sql`, for their read models.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace.eventstore.events import EventStore
from millrace.inbox.message_ids import MessageIds
from millrace.inbox.parked import ParkedMessages
from millrace.inbox.positions import Positions
from millrace.outbox.outbox import Outbox
from millrace.pipeline.effects import Effects
from millrace.pipeline.timers import Timers
from millrace.store.sql import Sql


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction, seen through each part of the store."""

    sql: Sql
    events: EventStore
    outbox: Outbox
    positions: Positions
    message_ids: MessageIds
    parked: ParkedMessages
    timers: Timers
    effects: Effects

    @classmethod
    def on(cls, sql: Sql) -> "Transaction":
        """Bundle the parts over one connection's SQL."""
        return cls(
            sql, EventStore(sql), Outbox(sql), Positions(sql), MessageIds(sql), ParkedMessages(sql), Timers(sql), Effects(sql)
        )


class Session(Protocol):
    """One connection, for one thread. Reconnects by itself at the next transaction after it broke."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commit when the block ends, roll back when it raises. Waits for its turn where the store has one writer."""

    def close(self) -> None:
        """Give the connection back."""


class Lease(Protocol):
    """The right to be the store's one relay."""

    @property
    def session(self) -> Session:
        """The session on the very connection that holds the lease."""

    @property
    def predecessor_left_cleanly(self) -> bool:
        """Whether nobody else's messages can still be under way."""

    def release(self) -> None:
        """Give it back, and record that nothing is under way."""

    def abandon(self) -> None:
        """Give it back while messages may still be under way, so that a successor waits."""


class Sessions(Protocol):
    """Opens sessions."""

    def session(self) -> Session:
        """Open a session. It connects at its first transaction."""


class Store(Sessions, Protocol):
    """A database. Safe to share between threads; its sessions are not."""

    def try_lease(self, silence_seconds: float = 30.0) -> Lease | None:
        """Become the one relay, or None while another process is.

        A holder that asks the store nothing for `silence_seconds`, frozen perhaps, loses the lease, and its session raises.
        """

    def wake_relay(self) -> None:
        """Tell the relay, in whichever process it runs, that there is something in the outbox. One short transaction of its own."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, on a thread of the store's, whenever another process calls `wake_relay`; return what ends that."""

    def migrate(self, *folders: Path) -> None:
        """Bring the schema up to date: the library's own first, then each folder's. Safe to call from several processes at once."""

    def close(self) -> None:
        """Close what the store itself holds open."""
