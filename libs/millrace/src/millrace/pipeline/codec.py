"""Events, states and requests as JSON text, by class name. Built once per service from its stream types."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec

from millrace.decision import StreamType
from millrace.errors import Undecodable
from millrace.eventstore.events import NO_STREAM, EventStore, StoredStream

_ENCODER = msgspec.json.Encoder(decimal_format="string")


def to_json(value: object) -> str:
    """Write a dataclass as JSON text."""
    return _ENCODER.encode(value).decode()


class StreamCodec:
    """Reads the states of streams: from the snapshot where it fits, else by replaying the events."""

    def __init__(self, stream_types: Sequence[StreamType[Any]]) -> None:
        self._types = {stream_type.category: stream_type for stream_type in stream_types}
        self._states = {t.category: msgspec.json.Decoder(type(t.initial)) for t in stream_types}
        self._events: dict[tuple[str, str], msgspec.json.Decoder[Any]] = {
            (t.category, event.__name__): msgspec.json.Decoder(event) for t in stream_types for event in t.events
        }

    def type_of(self, stream: str) -> StreamType[Any]:
        """Return the stream type that a stream's name belongs to. Raises KeyError for an undeclared category."""
        return self._types[stream[: stream.index("-")]]

    def state(self, stream: str, stored: StoredStream, events: EventStore) -> Any:
        """Return the state of a stream at its version."""
        stream_type = self.type_of(stream)
        if stored is NO_STREAM:
            return stream_type.initial
        if stored.state is not None and stored.snapshot_version == stream_type.snapshot_version:
            try:
                return self._states[stream_type.category].decode(stored.state)
            except msgspec.DecodeError:
                pass
        history = (self.event(stream, row.type, row.data) for row in events.read(stream))
        return reduce(stream_type.evolve, history, stream_type.initial)

    def event(self, stream: str, event_type: str, data: str) -> object:
        """Return a stored event as its class. Raises Undecodable for a type the stream's category does not declare."""
        decoder = self._events.get((stream[: stream.index("-")], event_type))
        if decoder is None:
            raise Undecodable(f"stream {stream} holds an event of the undeclared type {event_type}")
        return decoder.decode(data)
