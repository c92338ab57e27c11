"""One attempt at one batch: what is left of it after duplicates, what handlers decide, and what fails and is parked.

Made by the engine for each transaction, and thrown away with it. It commits nothing, and does not know why a transaction is tried again.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from millrace.clock import duration_micros, micros
from millrace.dead_letters import FOR
from millrace.decision import Context, Decision
from millrace.errors import PermanentError
from millrace.inbox.parked import ParkedMessage
from millrace.observability.in_hand import in_hand
from millrace.pipeline.culprits import Findings
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.failures import dead_letter, park, park_behind
from millrace.pipeline.inputs import Input, Result, unpack_record
from millrace.pipeline.staging import Stage
from millrace.store.contract import Transaction

if TYPE_CHECKING:
    from millrace.pipeline.engine import Batch, Engine

log = logging.getLogger(__name__)


class Attempt:
    """One attempt at one batch, inside one transaction. Counts and `results` say what became of its inputs."""

    def __init__(self, engine: "Engine", tx: Transaction, stage: Stage, findings: Findings) -> None:
        self._engine = engine
        self._tx = tx
        self.stage = stage
        self._findings = findings
        self._now = micros(stage.now)
        self._failed: list[ParkedMessage] = []
        self._work: list[Input] = []
        self._blocked: set[str] = set()
        self._retry_effects: list[PendingEffect] = []
        self._released: list[ParkedMessage] = []
        self.results: dict[str, Result] = {}
        self.done = self.retried = self.dead = self.duplicates = 0

    def admit(self, batch: "Batch") -> None:
        """Lock the keys, and find what is to be decided: parked messages that are due, and inputs that were not handled before."""
        group, tx = self._engine.group, self._tx
        keys = sorted({source.key for source in batch.inputs} | set(batch.due_keys))
        tx.sql.lock([lock_id(group, key) for key in keys])
        due = self._findings.to_try(tx.parked.run(group, batch.due_keys, self._now))
        parked = self._unrepeated([self._parked_input(message) for message in due])
        blocked = tx.parked.blocked(group, keys)
        self._work = [*parked, *self._fresh(batch.inputs)]
        self._blocked = blocked()

    def decide(self) -> None:
        """Decide what was admitted, in order, parked messages first."""
        work = self._work
        wanted: dict[str, Sequence[str]] = {}
        for source in work:
            if self._findings.rejection(source) is not None:
                continue
            in_hand.set(source)
            with suppress(Exception):
                wanted[source.id] = self._engine.handler_of(source.body).streams(source.body)
        self._load(work, wanted)
        stopped: set[str] = set()
        for source in work:
            in_hand.set(source)
            if source.parked is not None and source.key in stopped:
                continue
            if source.parked is None and source.key in self._blocked and self._can_wait(source):
                self._wait(source)
            elif not self._decide_one(source, wanted.get(source.id)):
                stopped.add(source.key)

    def _load(self, work: Sequence[Input], wanted: Mapping[str, Sequence[str]]) -> None:
        """Lock and read every stream of the batch: first those that say which others are needed, then all others, in id order."""
        looking = [(s, look) for s in work if s.id in wanted and (look := self._look(s)) is not None]
        first = {stream for source, _ in looking for stream in wanted[source.id]}
        if first:
            self.stage.load(self._tx, sorted(first))
        rest = {stream for streams in wanted.values() for stream in streams}
        for source, look in looking:
            in_hand.set(source)
            with suppress(Exception):
                rest.update(look(source.body, self.stage.states(wanted[source.id])))
        self.stage.load(self._tx, sorted(rest - first))

    def _look(self, source: Input) -> Any:
        return getattr(self._engine.handler_of(source.body), "more_streams", None)

    def _more(self, look: Any, body: object, names: Sequence[str]) -> Sequence[str]:
        """Return a looking handler's other streams as they are needed now: an earlier message of the batch may have added some."""
        more: Sequence[str] = look(body, self.stage.states(names))
        missing = sorted(set(more) - self.stage.streams.keys())
        if missing:
            self.stage.load(self._tx, missing)
        return more

    def write(self) -> None:
        """Write everything, each table once."""
        group, tx, config = self._engine.group, self._tx, self._engine.config
        self.stage.write(tx, group, self._engine.projections, self._now + duration_micros(config.effect_lease))
        for effect in self._retry_effects:
            tx.effects.add(group, [effect], self._now + config.retry.delay_micros(effect.attempt))
        tx.parked.release(self._released)
        tx.parked.update([message for message in self._failed if message.seq])
        tx.parked.park(group, [message for message in self._failed if not message.seq])

    def _fresh(self, inputs: Sequence[Input]) -> list[Input]:
        """Leave out what was handled before: messages by id, timers fired and effects recorded by somebody else meanwhile."""
        tx, group = self._tx, self._engine.group
        inputs = [source for source in inputs if not self._is_for_another(source)]
        messages = {source.id: source.sent_at for source in inputs if self._has_message_id(source)}
        remembered = tx.message_ids.remember(group, list(messages.items()))
        fresh = {timer.id for timer in tx.timers.take([source.timer for source in inputs if source.timer])}
        fresh |= tx.effects.done([source.effect.id for source in inputs if source.effect])
        fresh |= remembered()
        left: list[Input] = []
        for source in inputs:
            if self._has_message_id(source):
                name: str | None = source.id
            else:
                name = source.timer.id if source.timer else source.effect.id if source.effect else None
            if name is None:
                left.append(source)
            elif name in fresh:
                fresh.discard(name)
                left.append(source)
            else:
                self.duplicates += 1
                self.results.setdefault(source.id, Result())
        return left

    def _is_for_another(self, source: Input) -> bool:
        """Tell whether a record was sent again for the sake of another handler of its topic, which alone could not handle it."""
        if source.record is None or source.headers.get(FOR, self._engine.group) == self._engine.group:
            return False
        self.duplicates += 1
        self.results[source.id] = Result()
        return True

    def _has_message_id(self, source: Input) -> bool:
        """Tell whether an input's id is recorded: what nobody here could read may come again, readable, and is then no duplicate."""
        return source.record is not None and self._engine.can_handle(source.body)

    def _unrepeated(self, parked: Sequence[Input]) -> list[Input]:
        """Leave out those redriven that were not readable when they were parked, so that their ids say nothing, and came again since."""
        first = {s.id: s.sent_at for s in parked if s.parked and not s.parked.blocks and self._has_message_id(s)}
        fresh = self._tx.message_ids.remember(self._engine.group, list(first.items()))()
        left: list[Input] = []
        for source in parked:
            if source.parked and source.id in first and source.id not in fresh:
                self.duplicates += 1
                self._released.append(source.parked)
                continue
            fresh.discard(source.id)
            left.append(source)
        return left

    def _parked_input(self, message: ParkedMessage) -> Input:
        return self._engine.decoder.decode(unpack_record(message.record), message)

    def _decide_one(self, source: Input, streams: Sequence[str] | None) -> bool:
        try:
            if (rejection := self._findings.rejection(source)) is not None:
                raise rejection
            handler = self._engine.handler_of(source.body)
            names = handler.streams(source.body) if streams is None else streams
            if (look := getattr(handler, "more_streams", None)) is not None:
                names = [*names, *self._more(look, source.body, names)]
            context = Context(self.stage.now, source.id, source.key)
            with self._engine.tracing.deciding(source) as trace_headers:
                decision: Decision = handler.decide(source.body, self.stage.states(names), context)
                self.stage.add(source, decision, trace_headers)
        except Exception as error:
            self._fail(source, error)
            return False
        self.done += 1
        if source.parked is not None:
            self._released.append(source.parked)
        self.results[source.id] = Result(decision.reply)
        return True

    def _fail(self, source: Input, error: Exception) -> None:
        self.results[source.id] = Result(error=error)
        if source.record is not None:
            self._park(source, source.record, error)
        elif source.timer is not None:
            self._postpone(source, self._engine.config.retry.delay_micros(5))
            log.error("timer failed", exc_info=error, extra={"timer_id": source.timer.id})
        elif source.effect is not None:
            self._retry_effects.append(replace(source.effect, attempt=source.effect.attempt + 1))
            log.error("outcome refused", exc_info=error, extra={"effect_id": source.effect.id})

    def _park(self, source: Input, record: Any, error: Exception) -> None:
        message = park(source, error, self._engine.config.retry, self._now, blocks=self._engine.can_handle(source.body))
        self._failed.append(message)
        if message.blocks:
            self._blocked.add(source.key)
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "message_key": source.key}
        if message.state == "dead":
            self.dead += 1
            self.stage.outbox.append(dead_letter(record, self._engine.group, message))
            known = isinstance(error, PermanentError)
            log.error("message is dead", exc_info=None if known else error, extra={**where, "reason": message.reason})
        else:
            self.retried += 1
            log.warning("message will be tried again", extra={**where, "reason": message.reason, "attempt": message.attempt})

    def _can_wait(self, source: Input) -> bool:
        """Tell whether an input is to queue up behind its key's parked head. What cannot be handled in any case dies at once."""
        return source.timer is not None or (source.record is not None and self._engine.can_handle(source.body))

    def _wait(self, source: Input) -> None:
        """Queue up behind the key's parked head."""
        if source.record is not None:
            self._failed.append(park_behind(source, self._now))
        else:
            self._postpone(source, self._engine.config.retry.delay_micros(1))

    def _postpone(self, source: Input, delay: int) -> None:
        """Let a timer fire later, unless an earlier input of this batch replaced or cancelled it."""
        timer = source.timer
        assert timer is not None
        if timer.id in self.stage.timers or timer.id in self.stage.cancelled:
            return
        self.stage.timers[timer.id] = replace(timer, due_at=self._now + delay, awaits=None)


def lock_id(group: str, key: str) -> int:
    """Return the number, signed and of 64 bits, under which a key of a group is locked. A collision only makes two keys wait in turn."""
    return int.from_bytes(blake2b(f"{group}\x00{key}".encode(), digest_size=8).digest(), "big", signed=True)
