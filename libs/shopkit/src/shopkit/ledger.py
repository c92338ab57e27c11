"""What a simulated external part remembers: the first answer to each idempotency key, kept whatever becomes of the service.

It stands for the other company's books. Its table, `external_ledger`, is made by the migrations of a service that has such a part; it
is written on a session and thread of its own, never in the service's transactions. Many calls are written together.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from millrace.clock import Clock, micros
from millrace.errors import Unavailable
from millrace.store.contract import Session, Store
from millrace.store.sql import ColumnType

_MAX_BATCH = 500
_COLUMNS: dict[str, ColumnType] = {
    "key": "text", "kind": "text", "order_id": "text", "customer_id": "text", "currency": "text", "amount_minor": "bigint",
    "outcome": "text", "reason": "text", "reference": "text", "made_at": "bigint",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_ENTRY_NAMES = ", ".join(list(_COLUMNS)[:-1])


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the books: what was done under an idempotency key."""

    key: str
    kind: str
    order_id: str
    outcome: str
    customer_id: str = ""
    currency: str = ""
    amount_minor: int = 0
    reason: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class _Ask:
    key: str
    entry: Entry | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Entry | None]"


class Ledger:
    """The books of one part. Its coroutines may be used from any event loop; the thread starts with the first of them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._queue: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def record(self, entry: Entry) -> Entry:
        """Write an entry unless there is one under its key, and return the one that stands. Raises Unavailable."""
        kept = await self._ask(entry.key, entry)
        assert kept is not None
        return kept

    async def find(self, key: str) -> Entry | None:
        """Return the entry under a key, behind everything handed to `record` before. Raises Unavailable."""
        return await self._ask(key, None)

    def close(self) -> None:
        """Write what was handed in, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._store.close()

    async def _ask(self, key: str, entry: Entry | None) -> Entry | None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Entry | None] = loop.create_future()
        self._queue.put(_Ask(key, entry, loop, future))
        return await future

    def _run(self) -> None:
        session = self._store.session()
        open_ = True
        while open_:
            batch, open_ = self._next()
            if batch:
                self._answer(session, batch)
        session.close()

    def _next(self) -> tuple[list[_Ask], bool]:
        """Return what waits, the first of it waited for, and whether more may come."""
        batch: list[_Ask] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _MAX_BATCH or self._queue.empty():
                return batch, True
            item = self._queue.get()
        return batch, False

    def _answer(self, session: Session, batch: Sequence[_Ask]) -> None:
        try:
            found = self._write(session, batch)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever the database says
            away = Unavailable(f"the part's books cannot be reached: {type(error).__name__}")
            away.__cause__ = error
            for ask in batch:
                _wake(ask, None, away)
            return
        for ask in batch:
            _wake(ask, found.get(ask.key), None)

    def _write(self, session: Session, batch: Sequence[_Ask]) -> dict[str, Entry]:
        made_at = micros(self._clock())
        entries = sorted((ask.entry for ask in batch if ask.entry is not None), key=lambda entry: entry.key)
        rows = [
            (e.key, e.kind, e.order_id, e.customer_id, e.currency, e.amount_minor, e.outcome, e.reason, e.reference, made_at)
            for e in entries
        ]
        with session.transaction() as tx:
            tx.sql.each(
                f"INSERT INTO external_ledger ({_NAMES}) SELECT {_NAMES} FROM rows WHERE true ON CONFLICT DO NOTHING",
                _COLUMNS,
                rows,
            )
            found = tx.sql.each(
                f"SELECT {_ENTRY_NAMES} FROM external_ledger WHERE key IN (SELECT key FROM rows)",
                {"key": "text"},
                [(key,) for key in {ask.key for ask in batch}],
            )
        return {row[0]: _entry(*row) for row in found}


def _entry(
    key: str,
    kind: str,
    order_id: str,
    customer_id: str,
    currency: str,
    amount_minor: int,
    outcome: str,
    reason: str,
    reference: str,
) -> Entry:
    return Entry(key, kind, order_id, outcome, customer_id, currency, amount_minor, reason, reference)


def _wake(ask: _Ask, entry: Entry | None, error: Exception | None) -> None:
    def resolve() -> None:
        if ask.future.done():
            return
        if error is not None:
            ask.future.set_exception(error)
        else:
            ask.future.set_result(entry)

    if not ask.loop.is_closed():
        ask.loop.call_soon_threadsafe(resolve)
