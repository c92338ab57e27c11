"""What may go wrong in a `World`. As it stands nothing does; a test derives from `Faults`, and overrides what is to happen."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from millrace.store.contract import Session, Transaction

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here, as by SIGKILL: nothing catches it but the world, which throws away all the process had in memory."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of one message sent to the broker: it arrives `after` some time, or never; its sender hears of it, or times out."""

    after: timedelta = timedelta()
    arrives: bool = True
    reported: bool = True


_AT_ONCE = Delivery()


class Faults:
    """Asked by every part of a world at every turn. A subclass that draws from one seeded `random.Random` makes runs repeatable."""

    def crashes(self, service: str, where: str) -> bool:
        """Say whether a service's process ends now: `where` is before or behind a commit, or behind a message sent."""
        return False

    def stays_down(self, service: str) -> timedelta:
        """Return how long a process that crashed stays away."""
        return timedelta(seconds=1)

    def delivery(self, topic: str, key: bytes | None) -> Delivery:
        """Return what becomes of a message that is sent."""
        return _AT_ONCE

    def arrives_nevertheless(self) -> bool:
        """Say whether a message under way reaches the broker although its sender crashes."""
        return True

    def idles(self, service: str) -> bool:
        """Say whether a part of a service misses its turn."""
        return False

    def takes(self, most: int) -> int:
        """Return how many records a consumer is given of one partition, from 0 to `most`."""
        return most

    def rereads(self, offset: int) -> int:
        """Return the offset that a consumer is given records from: an earlier one is a redelivery."""
        return offset

    def ordered(self, items: Sequence[T]) -> Sequence[T]:
        """Return in which order things happen that have none: turns of services and their parts, partitions to read."""
        return items


class FaultySession:
    """A session whose process may crash before and behind each commit."""

    def __init__(self, session: Session, service: str, faults: Faults) -> None:
        self._session = session
        self._service = service
        self._faults = faults

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Session`. Raises Crash besides."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._session.transaction() as tx:
            yield tx
            self._may_crash("before a commit")
        self._may_crash("behind a commit")

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def _may_crash(self, where: str) -> None:
        if self._faults.crashes(self._service, where):
            raise Crash(f"{self._service} {where}")
