"""Events, states and requests as JSON text, by class name. Built once per service from its stream types."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import msgspec
from prometheus_client import Counter

from millrace.decision import StreamType, Upcast
from millrace.errors import Undecodable
from millrace.eventstore.events import NO_STREAM, EventStore, StoredEvent, StoredStream

log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_CORRUPT = Counter(
    "millrace_corrupt_snapshots_total", "Snapshots that could not be read, whose streams were replayed", ["category"]
)


def to_json(value: object) -> str:
    """Write a dataclass as JSON text."""
    return _ENCODER.encode(value).decode()


@dataclass(frozen=True, slots=True)
class _Shape:
    """How events of one stored name are read."""

    decoder: msgspec.json.Decoder[Any]
    upcasts: Sequence[Upcast]

    def read(self, stored: StoredEvent) -> object:
        missing = self.upcasts[stored.revision - 1 :]
        if not missing:
            return self.decoder.decode(stored.data)
        value = msgspec.json.decode(stored.data)
        for upcast in missing:
            value = upcast(value)
        return self.decoder.decode(_ENCODER.encode(value))


class StreamCodec:
    """Reads the states of streams: from the snapshot where it fits, else by replaying the events."""

    def __init__(self, stream_types: Sequence[StreamType[Any]]) -> None:
        self._types = {stream_type.category: stream_type for stream_type in stream_types}
        self._states = {t.category: msgspec.json.Decoder(type(t.initial)) for t in stream_types}
        self._shapes = {
            (t.category, name): _Shape(msgspec.json.Decoder(event), t.upcasts.get(event, ()))
            for t in stream_types
            for name, event in [*((event.__name__, event) for event in t.events), *t.formerly.items()]
        }

    def type_of(self, stream: str) -> StreamType[Any]:
        """Return the stream type that a stream's name belongs to. Raises KeyError for an undeclared category."""
        return self._types[_category(stream)]

    def state(self, stream: str, stored: StoredStream, events: EventStore) -> Any:
        """Return the state of a stream at its version.

        A snapshot that cannot be read is told of and counted, and its stream replayed; the next append replaces it. Raises Undecodable
        where the events of a replay are not all there, or not all declared.
        """
        stream_type = self.type_of(stream)
        if stored is NO_STREAM:
            return stream_type.initial
        if stored.state is not None and stored.snapshot_version == stream_type.snapshot_version:
            try:
                return self._states[stream_type.category].decode(stored.state)
            except msgspec.DecodeError as fault:
                log.warning("a snapshot cannot be read, its stream is replayed", extra={"stream": stream, "reason": str(fault)})
                _CORRUPT.labels(stream_type.category).inc()
        history = events.read(stream)
        if [row.version for row in history] != list(range(1, stored.version + 1)):
            raise Undecodable(f"stream {stream} is at version {stored.version}, and has {len(history)} events")
        return reduce(stream_type.evolve, map(self.event, history), stream_type.initial)

    def event(self, stored: StoredEvent) -> Any:
        """Return a stored event as its class is now, upcast where it was stored in an older revision.

        Raises Undecodable for a type the stream's category does not declare, and for a revision newer than this program knows.
        """
        shape = self._shapes.get((_category(stored.stream), stored.type))
        if shape is None:
            raise Undecodable(f"stream {stored.stream} holds an event of the undeclared type {stored.type}")
        if stored.revision > len(shape.upcasts) + 1:
            raise Undecodable(
                f"stream {stored.stream} holds revision {stored.revision} of {stored.type}, which is newer than known here"
            )
        return shape.read(stored)


def _category(stream: str) -> str:
    return stream[: stream.index("-")]
