"""Reactors: make the calls to the outside that decisions asked for, and bring back their outcomes.

Calls run as coroutines, side by side across keys and in order within one. An outcome returns through the command thread and is decided
in the transaction that removes the effect, so it counts once, however often the call was made.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_never, wait_random_exponential
from tenacity.wait import wait_base

from millrace.clock import duration_micros, micros
from millrace.errors import TransientError
from millrace.observability.in_hand import in_hand
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.engine import Committed, Engine
from millrace.pipeline.inputs import outcome_of
from millrace.store.contract import Session

log = logging.getLogger(__name__)

Reactor: TypeAlias = Callable[[Any, str], Awaitable[object]]
"""Makes one call for (request, effect id) and returns its outcome, a dataclass that some handler decides. Raises TransientError to be
called again; any other error is logged and retried more slowly, since nobody else can finish the effect."""

_SWEEP_LIMIT = 500
_PAUSES = wait_random_exponential(0.2, timedelta(seconds=15))


class Reactors:
    """Runs effects on the event loop it is started on."""

    def __init__(
        self,
        reactors: Mapping[type, Reactor],
        engine: Engine,
        commands: CommandThread,
        *,
        concurrency: int = 256,
        pauses: wait_base = _PAUSES,
    ) -> None:
        """`pauses` is how long to wait before a failed call is made again."""
        self._reactors: dict[str, tuple[msgspec.json.Decoder[Any], Reactor]] = {
            kind.__name__: (msgspec.json.Decoder(kind), reactor) for kind, reactor in reactors.items()
        }
        self._engine = engine
        self._commands = commands
        self._slots = asyncio.Semaphore(concurrency)
        self._pauses = pauses
        self._lanes: dict[str, deque[PendingEffect]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started_at = 0

    def start(self) -> None:
        """Take effects from now on, and look every second for those whose process died."""
        self._started_at = micros(self._engine.clock())
        self._loop = asyncio.get_running_loop()
        self._engine.listen(self._committed)
        self._commands.every_second(self._sweep)

    async def stop(self) -> None:
        """Cancel what is under way: its leases run out, and it is done again under the same idempotency key."""
        self._loop = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _committed(self, committed: Committed) -> None:
        if committed.effects and self._loop is not None:
            self._loop.call_soon_threadsafe(self._submit, committed.effects)

    def _sweep(self, session: Session) -> None:
        loop = self._loop
        if loop is None:
            return
        now = micros(self._engine.clock())
        lease = duration_micros(self._engine.config.effect_lease)
        until = now + lease
        with session.transaction() as tx:
            tx.effects.extend(list(self._held), until)
            # Where one process has the store to itself, whoever took a lease before this one started is dead.
            orphaned_by = 0 if tx.sql.for_update else self._started_at + lease - 1
            found = tx.effects.lease(self._engine.group, max(now, orphaned_by), until, _SWEEP_LIMIT)
        if found:
            loop.call_soon_threadsafe(self._submit, found)

    def _submit(self, effects: Sequence[PendingEffect]) -> None:
        for effect in effects:
            if effect.id in self._held:
                continue
            if effect.kind not in self._reactors:
                log.error("no reactor for this effect, left to another process", extra=effect.log_fields())
                continue
            self._held.add(effect.id)
            lane = self._lanes.get(effect.key)
            if lane is not None:
                lane.append(effect)
                continue
            self._lanes[effect.key] = deque([effect])
            task = asyncio.ensure_future(self._work(effect.key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, key: str) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                effect = lane[0]
                in_hand.set(effect)
                try:
                    outcome = outcome_of(effect, await self._call(effect))
                except msgspec.DecodeError as error:
                    log.error("an effect that cannot be read is left to another process", extra={"reason": str(error)})
                else:
                    self._commands.record(outcome)
                lane.popleft()
                self._held.discard(effect.id)
        finally:
            self._held.difference_update(effect.id for effect in lane)
            del self._lanes[key]

    async def _call(self, effect: PendingEffect) -> object:
        decoder, reactor = self._reactors[effect.kind]
        request = decoder.decode(effect.request)
        retrying = AsyncRetrying(retry=retry_if_exception_type(Exception), stop=stop_never, wait=self._pauses)
        async for attempt in retrying:
            with attempt:
                try:
                    async with self._slots:  # for the attempt alone: what waits for its next one holds up nobody
                        return await reactor(request, effect.id)
                except TransientError as error:
                    log.warning("call will be repeated", extra={"reason": str(error)})
                    raise
                except Exception:
                    log.exception("call failed")
                    raise
        raise AssertionError("retries never end")
