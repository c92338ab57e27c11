"""What a protobuf type declares about how it travels, by the options of `millrace/v1/options.proto`.

Used by everything that sends or reads protobuf. It knows no publisher.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message as Protobuf

from millrace.errors import FieldViolation, Invalid, UnknownType
from millrace.v1 import options_pb2


@dataclass(frozen=True, slots=True)
class Route:
    """A type's full name, its topic, and the field that holds its key (None: its messages have no order)."""

    type: str
    topic: str
    key_field: str | None

    def key(self, body: Protobuf) -> str | None:
        """Return the key of a message of this type. Raises Invalid where the key field is empty."""
        if self.key_field is None:
            return None
        key: str = getattr(body, self.key_field)
        if not key:
            raise Invalid([FieldViolation(self.key_field, "is the message key and must not be empty")])
        return key


def route_of(body_type: type[Protobuf]) -> Route:
    """Return what a type declares. Raises UnknownType if it has no topic or its key field is not a single string of its own."""
    descriptor: Any = body_type.DESCRIPTOR
    return _route(descriptor)


@cache
def _route(descriptor: Descriptor) -> Route:
    options = descriptor.GetOptions()
    topic = options.Extensions[options_pb2.topic]
    if not topic:
        raise UnknownType(f"{descriptor.full_name} declares no topic")
    key_field = options.Extensions[options_pb2.key_field] or None
    if key_field is not None:
        field = descriptor.fields_by_name.get(key_field)
        if field is None or field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
            raise UnknownType(f"{descriptor.full_name} has no single string field {key_field} to be its key")
    return Route(descriptor.full_name, topic, key_field)
