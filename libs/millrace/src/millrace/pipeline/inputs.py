"""What the pipeline decides about: a record's message, a parked message, a command of the edge, a timer, an effect's outcome."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from millrace.decision import TimerFired
from millrace.inbox.parked import ParkedMessage
from millrace.message import Record
from millrace.observability.in_hand import order_fields, origin_fields, record_fields
from millrace.pipeline.effects import PendingEffect
from millrace.pipeline.timers import Timer


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to decide. `body` chooses the handler by its class; an exception as body is a fault found while decoding.

    `key` is what order is kept by and what a failure blocks. `id` becomes the causation id of all that follows. Exactly one of `record`,
    `timer` and `effect` is set, or none for a command of the edge. `parked` is the row a record waits in, if it does.
    """

    id: str
    key: str
    body: object
    headers: Mapping[str, str]
    sent_at: int = 0
    record: Record | None = None
    parked: ParkedMessage | None = None
    timer: Timer | None = None
    effect: PendingEffect | None = None

    def log_fields(self) -> dict[str, object]:
        """Return the fields of log lines about it. See `millrace.observability.in_hand`."""
        fields = origin_fields(self.headers) if self.record is None else record_fields(self.record)
        fields.setdefault("correlation_id", self.id)
        fields["message_key"] = self.key
        if self.timer is not None:
            fields["timer_id"] = self.timer.id
        if self.effect is not None:
            fields["effect_id"] = self.effect.id
        return fields | order_fields(self.body)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command of the edge gets: the reply of its decision, or the error that refused it."""

    reply: object = None
    error: Exception | None = None


def fired(timer: Timer) -> Input:
    """Return a timer that is due as an input: it goes on in the trace, and under the correlation, of what started it."""
    body = TimerFired(timer.id, timer.kind, timer.key, timer.attempt)
    return Input(f"timer {timer.id}", timer.key, body, _HEADERS.decode(timer.headers), timer=timer)


def outcome_of(effect: PendingEffect, outcome: object) -> Input:
    """Return what a call to the outside came to as an input: it goes on in the trace of the decision that asked for the call."""
    return Input(f"effect {effect.id}", effect.key, outcome, _HEADERS.decode(effect.headers), effect=effect)


def pack_record(record: Record) -> bytes:
    """Serialise a record for the table of parked messages."""
    return msgspec.msgpack.encode(record)


def unpack_record(packed: bytes) -> Record:
    """Return the record that `pack_record` was given."""
    return _RECORD.decode(packed)


_HEADERS = msgspec.json.Decoder(dict[str, str])
_RECORD = msgspec.msgpack.Decoder(Record)
