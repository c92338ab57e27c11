"""Letters parked in a store, where the pipeline keeps a message that failed and those of its key behind it.

A decision is one transaction under the keys' locks, so that it cannot cross the service's own; a note of it goes to the dead letter topic,
through the outbox, behind the copy. The service notices within its sweep: nothing has to be told to it.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import msgspec
import psycopg

from millrace.clock import Clock, from_micros, micros, utc_now
from millrace.dead_letters.copies import SUFFIX, parked_name, settling_headers
from millrace.dead_letters.letter import Letter, State, Wanted
from millrace.errors import Unavailable
from millrace.inbox.letters import ParkedLetter, ParkedLetters
from millrace.message import new_id
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.attempt import lock_id
from millrace.pipeline.inputs import unpack_record
from millrace.store.contract import Store, Transaction

log = logging.getLogger(__name__)
_PAGE = 100
_AT_ONCE = 500  # keys locked by one transaction


class StoredLetters:
    """The letters of one store. One thread uses it."""

    def __init__(self, name: str, store: Store, clock: Clock = utc_now) -> None:
        self.name = name
        self._session = store.session()
        self._clock = clock

    def find(self, wanted: Wanted, limit: int | None = None) -> list[Letter]:
        """Return the wanted letters, oldest first. See `Letters`."""
        equal = {"grp": wanted.handler, "topic": wanted.topic, "key": wanted.key}
        if wanted.state:
            equal["state"] = "dead" if wanted.state == "dead" else "retry"
        letters = (_without_value(letter) for letter in self._all({name: value for name, value in equal.items() if value}))
        return list(islice(filter(wanted.takes, letters), limit))

    def get(self, letter_id: str) -> Letter | None:
        """Return one letter with all of its bytes. See `Letters`."""
        seq = _seq(letter_id)
        with self._transaction() as tx:
            found = [parked for parked in ParkedLetters(tx.sql).page({}, seq - 1, 1) if parked.message.seq == seq]
        return self._letter(found[0]) if found else None

    def redrive(self, letters: list[Letter], by: str) -> int:
        """Put letters back into their keys' queues, to be tried at once, with all their attempts. See `Letters`."""

        def back(tx: Transaction, found: list[ParkedLetter]) -> None:
            ParkedLetters(tx.sql).redrive(found, micros(self._clock()))

        return self._settle(letters, "redriven", by, back)

    def discard(self, letters: list[Letter], by: str) -> int:
        """Remove letters; those behind them are due from then on. See `Letters`."""

        def away(tx: Transaction, found: list[ParkedLetter]) -> None:
            tx.parked.release([parked.message for parked in found])

        return self._settle(letters, "discarded", by, away)

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def _settle(
        self, letters: list[Letter], outcome: str, by: str, change: Callable[[Transaction, list[ParkedLetter]], None]
    ) -> int:
        """Change letters key by key, so many keys a transaction; return how many."""
        by_key: dict[tuple[str, str], list[int]] = {}
        for letter in letters:
            by_key.setdefault((letter.handler, letter.key), []).append(_seq(letter.id))
        keys = list(by_key)
        settled = 0
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            with self._transaction() as tx:
                tx.sql.lock([lock_id(group, key) for group, key in part])
                found = ParkedLetters(tx.sql).dead(sorted(seq for key in part for seq in by_key[key]))
                tx.outbox.add([_note(parked, outcome, by) for parked in found])
                change(tx, found)
            for parked in found:
                where = {
                    "letter": f"{self.name}:{parked.message.seq}",
                    "key": parked.message.key,
                    "reason": parked.message.reason,
                }
                log.info("dead letter settled", extra={**where, "outcome": outcome, "by": by})
            settled += len(found)
        return settled

    def _all(self, equal: dict[str, str]) -> Iterator[Letter]:
        after = 0
        while True:
            with self._transaction() as tx:
                page = ParkedLetters(tx.sql).page(equal, after, _PAGE)
            yield from map(self._letter, page)
            if len(page) < _PAGE:
                return
            after = page[-1].message.seq

    def _letter(self, parked: ParkedLetter) -> Letter:
        message = parked.message
        state: State = "dead" if message.state == "dead" else "waiting" if parked.is_behind else "retry"
        return Letter(
            id=f"{self.name}:{message.seq}",
            state=state,
            handler=parked.group,
            record=unpack_record(message.record),
            key=message.key,
            reason=message.reason,
            attempts=message.attempt,
            at=from_micros(message.parked_at if state == "waiting" else message.due_at),
            waiting=parked.waiting,
        )

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        """Open a transaction. Raises Unavailable for whatever the database has to say: there is nobody here to tell faults apart."""
        try:
            with self._session.transaction() as tx:
                yield tx
        except (psycopg.Error, sqlite3.Error) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            hint = "; has its service ever run?" if "parked" in reason else ""
            raise Unavailable(f"the store {self.name} cannot be used: {reason}{hint}") from error


def _seq(letter_id: str) -> int:
    return int(letter_id.rpartition(":")[2])


def _without_value(letter: Letter) -> Letter:
    return replace(letter, record=replace(letter.record, value=None))


def _note(parked: ParkedLetter, outcome: str, by: str) -> OutboxRow:
    """Return the note that tells on the dead letter topic what was decided. It is no tombstone: its value is empty."""
    record = unpack_record(parked.message.record)
    headers = settling_headers(parked_name(record, parked.group, parked.message.due_at), outcome, by)
    return OutboxRow(record.topic + SUFFIX, record.key, b"", msgspec.msgpack.encode(headers), new_id())
