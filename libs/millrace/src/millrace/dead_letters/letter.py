"""One letter as people see it, wherever it lies, and which letters they want to see.

A letter's id says where it lies: `store:seq` for one parked in a store, `topic/partition/offset` for one on a dead letter topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from millrace.message import Record

State = Literal["dead", "retry", "waiting"]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that failed, or waits behind one that did.

    `state`: `dead` waits for a decision, `retry` is tried again at `at`, `waiting` is behind another of its key. `at` is else the time it
    died or came to wait. `handler` is the consumer group or the plain handler that failed; `waiting` counts what is held up behind it.
    `parked` tells that the original is in a store, so that only there something can be decided about it.
    """

    id: str
    state: State
    handler: str
    record: Record
    key: str
    reason: str
    attempts: int
    at: datetime
    waiting: int = 0
    parked: bool = True

    @property
    def type(self) -> str:
        """The message's type as its header says it; empty where there is none."""
        return header(self.record, "ce_type")

    @property
    def message_id(self) -> str:
        """The message's id as its header says it; empty where there is none."""
        return header(self.record, "ce_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters. What is empty or None asks for nothing; `state` empty for every state.

    `type` is a full name or its last part, `reason` a part of the reason in any case of letters; `since` is in, `until` is out.
    """

    state: str = "dead"
    handler: str = ""
    topic: str = ""
    key: str = ""
    type: str = ""
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is wanted."""
        exact = (
            (self.state, letter.state),
            (self.handler, letter.handler),
            (self.topic, letter.record.topic),
            (self.key, letter.key),
        )
        return (
            all(wanted in ("", found) for wanted, found in exact)
            and self.type in ("", letter.type, letter.type.rpartition(".")[2])
            and self.reason.casefold() in letter.reason.casefold()
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


class Letters(Protocol):
    """A place where letters lie. Each call raises Unavailable where the place cannot be reached."""

    name: str

    def find(self, wanted: Wanted, limit: int | None = None) -> list[Letter]:
        """Return the wanted letters, in the order in which each key's came, `limit` at most; without the bytes of their values."""

    def get(self, letter_id: str) -> Letter | None:
        """Return one letter with all of its bytes, in whatever state; None if it is not there, or settled."""

    def redrive(self, letters: list[Letter], by: str) -> int:
        """Have letters tried again, each key's in order; return how many. One that is not dead any more is left out."""

    def discard(self, letters: list[Letter], by: str) -> int:
        """Give letters up, and let go on what waits behind them; return how many. One that is not dead any more is left out."""


def header(record: Record, name: str) -> str:
    """Return a header as text; empty if it is not there."""
    headers: Mapping[str, bytes | None] = dict(record.headers)
    return (headers.get(name) or b"").decode(errors="replace")
