"""Read-only questions to the store from the event loop, answered on a few threads with a session each."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from millrace.errors import Unavailable
from millrace.store.contract import Session, Store
from millrace.store.faults import Fault, classify
from millrace.store.sql import Sql

T = TypeVar("T")


class Queries:
    """Runs reads off the event loop."""

    def __init__(self, store: Store, *, threads: int = 2) -> None:
        self._store = store
        self._local = threading.local()
        self._sessions: list[Session] = []
        self._executor = ThreadPoolExecutor(threads, "queries")

    async def run(self, read: Callable[[Sql], T]) -> T:
        """Return what `read` returns. Raises Unavailable when the database is away."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, read)

    def close(self) -> None:
        """End the threads and their sessions."""
        self._executor.shutdown()
        for session in self._sessions:
            session.close()

    def _run(self, read: Callable[[Sql], T]) -> T:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._store.session()
            self._sessions.append(session)
        try:
            with session.transaction() as tx:
                return read(tx.sql)
        except Exception as error:
            if classify(error) is Fault.AWAY:
                raise Unavailable("the database is away") from error
            raise
