"""The protobuf types a program knows, by the name their messages carry. Built once at start, read from any thread."""

from collections.abc import Iterable, Iterator
from types import ModuleType

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import Route, route_of
from millrace.errors import Undecodable, UnknownType
from millrace.message import Message


class TypeRegistry:
    """Finds a message's class by its type name, decodes it, and says where a type travels."""

    def __init__(self, types: Iterable[type[Protobuf]]) -> None:
        """Know these types. Raises UnknownType for one that declares no topic, ValueError for two classes of one name."""
        self._known: dict[str, tuple[type[Protobuf], Route]] = {}
        for body_type in types:
            route = route_of(body_type)
            known, _ = self._known.setdefault(route.type, (body_type, route))
            if known is not body_type:
                raise ValueError(f"two classes are named {route.type}")

    @classmethod
    def from_modules(cls, *modules: ModuleType) -> "TypeRegistry":
        """Know every type with a topic that these generated modules define."""
        found = (value for module in modules for value in vars(module).values())
        types = [value for value in found if isinstance(value, type) and issubclass(value, Protobuf)]
        return cls(body_type for body_type in types if _has_topic(body_type))

    def __iter__(self) -> Iterator[type[Protobuf]]:
        """Iterate over the classes, in the order they were given."""
        return iter([body_type for body_type, _ in self._known.values()])

    def __contains__(self, type_name: str) -> bool:
        """Say whether a type of this full name is known."""
        return type_name in self._known

    def require(self, body_type: type[Protobuf]) -> str:
        """Return a class's full type name. Raises UnknownType unless this very class is known."""
        name: str = body_type.DESCRIPTOR.full_name
        known = self._known.get(name)
        if known is None or known[0] is not body_type:
            raise UnknownType(f"{name} is not a type known here")
        return name

    def decode(self, message: Message) -> Protobuf:
        """Return the body of a message.

        Raises UnknownType if its type is not known, and Undecodable if the payload is no such type or the message's key is not what
        the body's key field says: locks are taken by the one and state is found by the other, so they have to agree.
        """
        known = self._known.get(message.type)
        if known is None:
            raise UnknownType(f"{message.type} is not a type known here")
        body_type, route = known
        try:
            body = body_type.FromString(message.payload)
        except DecodeError as fault:
            raise Undecodable(f"payload is no {message.type}: {fault}") from fault
        if route.key_field is not None and getattr(body, route.key_field) != message.key:
            raise Undecodable(f"key is not the payload's {route.key_field}")
        return body

    def topic(self, body_type: type[Protobuf]) -> str:
        """Return the topic a type is published to. Raises UnknownType if it declares none."""
        return route_of(body_type).topic

    def key(self, body: Protobuf) -> str | None:
        """Return the key of a message with this body. Raises Invalid if the key field is empty, UnknownType without a topic."""
        return route_of(type(body)).key(body)

    def topics(self) -> set[str]:
        """Return the topics of all known types."""
        return {route.topic for _, route in self._known.values()}


def _has_topic(body_type: type[Protobuf]) -> bool:
    try:
        route_of(body_type)
    except UnknownType:
        return False
    return True
