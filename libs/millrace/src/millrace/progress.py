"""How far one assigned partition is done, from its assignment to its revocation. Used by the subscriptions of both brokers."""

from millrace.message import Record


class Progress:
    """Tracks delivered records until they are done. A new assignment gets a new one, so records of an older one are strangers to it.

    The offset to commit is that of the first record not done: never one that was delivered and not processed. What is done behind it is
    remembered, and not handed out again when the partition goes back.
    """

    __slots__ = ("_ahead", "_next", "_pending", "_reached")

    def __init__(self) -> None:
        self._pending: dict[int, Record] = {}
        self._ahead: set[int] = set()
        self._next: int | None = None
        self._reached: int | None = None

    def delivered(self, record: Record) -> bool:
        """Note that a record came, and is handed out; return False if it is not to be: it was done before the partition went back."""
        if self._reached is None:
            self._reached = record.offset
        self._next = record.offset + 1
        if self._ahead and record.offset in self._ahead:
            self._ahead.remove(record.offset)
            return False
        self._pending[record.offset] = record
        return True

    def in_hand(self, record: Record) -> bool:
        """Tell whether a record was handed out under this assignment, and is not done."""
        return self._pending.get(record.offset) is record

    def done(self, record: Record) -> bool:
        """Note that a record is processed; return False for one that was not handed out under this assignment."""
        if not self.in_hand(record):
            return False
        del self._pending[record.offset]
        return True

    def back_to(self, record: Record) -> bool:
        """Forget a record and all behind it that is not done, as if never handed out; return False for one that is not in hand."""
        if self._next is None or not self.in_hand(record):
            return False
        done_behind = (offset for offset in range(record.offset, self._next) if offset not in self._pending)
        self._ahead = {offset for offset in self._ahead if offset > record.offset}.union(done_behind)
        self._pending = {offset: held for offset, held in self._pending.items() if offset < record.offset}
        self._next = record.offset
        return True

    def to_commit(self) -> int | None:
        """Return the offset the group should go on from, once for each step forward; None if there is nothing new."""
        position = next(iter(self._pending), self._next)
        if position == self._reached:
            return None
        self._reached = position
        return position
