"""Turns records into inputs: the envelope, then the protobuf type. A fault becomes the input's body, for the engine to dead-letter."""

from collections.abc import Mapping

from millrace.clock import micros
from millrace.cqrs.registry import TypeRegistry
from millrace.dead_letters import FOR, addressee
from millrace.envelope import decode
from millrace.errors import PermanentError, Undecodable
from millrace.inbox.parked import ParkedMessage
from millrace.message import Record
from millrace.pipeline.inputs import Input

_NOTHING: Mapping[str, str] = {}
_MAX_BYTES = 512  # of a key or an id: both are in indexes, which take rows of 2,700 bytes, and a broken byte is written as four


class Decoder:
    """Decodes records by the types a service knows."""

    def __init__(self, registry: TypeRegistry) -> None:
        self._registry = registry

    def decode(self, record: Record, parked: ParkedMessage | None = None) -> Input:
        """Return the input a record is. A record without a key is its own key."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        try:
            message = decode(record)
            if max(len(message.id.encode()), len(record.key or b"")) > _MAX_BYTES:
                raise Undecodable(f"key or ce_id of more than {_MAX_BYTES} bytes")
            body: object = self._registry.decode(message)
        except PermanentError as fault:
            key = parked.key if parked else _key_text(record, place)
            return Input(place, key, fault, _header(record), record=record, parked=parked)
        return Input(
            id=message.id,
            key=message.key if message.key is not None else place,
            body=body,
            headers=message.headers,
            sent_at=micros(message.time),
            record=record,
            parked=parked,
        )


def _header(record: Record) -> Mapping[str, str]:
    """Return the one header that counts even where nothing else can be read."""
    handler = addressee(record)
    return _NOTHING if handler is None else {FOR: handler}


def _key_text(record: Record, place: str) -> str:
    """Return the key as text that any database takes, or the record's place where there is none or it is too long."""
    if record.key is None or len(record.key) > _MAX_BYTES:
        return place
    return record.key.decode(errors="backslashreplace").replace("\x00", "\\0")
