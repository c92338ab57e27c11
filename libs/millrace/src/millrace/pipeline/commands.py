"""The command thread: decides what comes from the edge and from reactors, many at a time, each batch in one transaction.

The first command commits at once; those that arrive meanwhile form the next batch. There is no linger.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from millrace.errors import Unavailable
from millrace.observability.health import Health
from millrace.pipeline.engine import Batch, Engine
from millrace.pipeline.inputs import Input, Result
from millrace.store.contract import Session, Sessions
from millrace.store.faults import Fault, classify

log = logging.getLogger(__name__)
_MAX_BATCH = 500
_IDLE_SECONDS = 1.0
_KEYS_LOGGED = 20


@dataclass(frozen=True, slots=True)
class _Waiting:
    source: Input
    future: "asyncio.Future[object] | None"
    loop: asyncio.AbstractEventLoop | None


class CommandThread:
    """Decides commands for one engine, on a connection of its own."""

    def __init__(self, engine: Engine, store: Sessions, health: Health) -> None:
        self._engine = engine
        self._session: Session = store.session()
        self._health = health
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._sweeps: list[Callable[[Session], None]] = []
        self._kept: list[_Waiting] = []
        self._thread = threading.Thread(target=self._run, name="commands")

    def every_second(self, sweep: Callable[[Session], None]) -> None:
        """Call `sweep` about once a second, also under load, between batches, with the thread's session."""
        self._sweeps.append(sweep)

    def start(self) -> None:
        """Begin to decide."""
        self._thread.start()

    def stop(self) -> None:
        """Decide what was handed in before this call, then end the thread."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    async def decide(self, source: Input) -> object:
        """Return the reply of a command once it is committed.

        Raises what refused it, or Unavailable when the database is away. Cancelled before its transaction it is dropped; after it, it
        stands.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._queue.put(_Waiting(source, future, loop))
        return await future

    def record(self, source: Input) -> None:
        """Decide an effect's outcome, as soon as the database takes it. Returns at once."""
        self._queue.put(_Waiting(source, None, None))

    def turn(self) -> bool:
        """Decide what was handed in, on the calling thread, in place of `start`; return whether that was anything."""
        waiting = [] if self._queue.empty() else self._next()[0]
        some = bool(waiting or self._kept)
        self._decide_with_kept(waiting)
        return some

    def sweep(self) -> None:
        """Call every sweep once. The thread does so about once a second; a fault of one is logged."""
        for sweep in self._sweeps:
            try:
                sweep(self._session)
                self._health.report("database", True)
            except Exception as error:
                if classify(error) is Fault.BUG:
                    log.exception("sweep failed")
                else:
                    self._health.report("database", False, str(error))

    def _run(self) -> None:
        next_sweep = 0.0
        while True:
            waiting, ended = self._next()
            self._decide_with_kept(waiting)
            if ended:
                break
            if time.monotonic() >= next_sweep:
                self.sweep()
                next_sweep = time.monotonic() + _IDLE_SECONDS
        self._session.close()

    def _decide_with_kept(self, waiting: Sequence[_Waiting]) -> None:
        if waiting or self._kept:
            kept, self._kept = self._kept, []
            self._decide([*kept, *waiting])

    def _next(self) -> tuple[list[_Waiting], bool]:
        """Return the next batch, and whether it is the last."""
        try:
            item = self._queue.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            return [], False
        batch: list[_Waiting] = []
        while item is not None:
            batch.append(item)
            if len(batch) == _MAX_BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _decide(self, waiting: Sequence[_Waiting]) -> None:
        live = [item for item in waiting if item.future is None or not item.future.cancelled()]
        try:
            results = self._engine.process(self._session, Batch([item.source for item in live]))
        except Exception as error:
            self._refused(live, error)
            return
        self._health.report("database", True)
        self._answer(live, results)

    def _refused(self, live: Sequence[_Waiting], error: Exception) -> None:
        """The batch as a whole did not commit: callers are told, outcomes of effects are kept for the next batch, a second later at most."""
        fault = classify(error)
        away = fault in (Fault.AWAY, Fault.AGAIN)
        if away:
            self._health.report("database", False, str(error))
        else:
            log.error(
                "commands failed", exc_info=error, extra={"message_keys": [item.source.key for item in live[:_KEYS_LOGGED]]}
            )
        answer = Result(error=Unavailable("the database is away") if away else error)
        self._answer(live, {item.source.id: answer for item in live if item.future})
        if away:
            self._kept = [item for item in live if item.future is None]

    def _answer(self, live: Sequence[_Waiting], results: dict[str, Result]) -> None:
        """Wake every caller, with one call into each event loop."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[object], Result]]] = {}
        for item in live:
            if item.future is not None and item.loop is not None:
                loops.setdefault(item.loop, []).append((item.future, results[item.source.id]))
        for loop, answers in loops.items():
            with suppress(RuntimeError):  # a loop that has ended waits for nothing
                loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple["asyncio.Future[object]", Result]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if result.error is not None:
            future.set_exception(result.error)
        else:
            future.set_result(result.reply)
