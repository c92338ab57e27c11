"""Hand decoded commands and events to the handlers of their types, as a plain handler for a Router.

A handler gets the body and the message it came in, and returns the bodies that follow from it: they go out as caused by that message.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.marshal import caused_by, marshal
from millrace.cqrs.registry import TypeRegistry
from millrace.cqrs.unknown import UnknownTypePolicy, UnknownTypes
from millrace.message import Message
from millrace.pubsub import Outgoing

B = TypeVar("B", bound=Protobuf)
BodyHandler: TypeAlias = Callable[[B, Message], Sequence[Protobuf]]


class CommandProcessor:
    """Gives each command to the one handler of its type. Calling it is safe from several threads once every `on` is made."""

    def __init__(
        self, registry: TypeRegistry, source: str, *, unknown: UnknownTypePolicy = UnknownTypePolicy.DEAD_LETTER
    ) -> None:
        self._registry = registry
        self._source = source
        self._handlers: dict[str, BodyHandler[Any]] = {}
        self.unknown = UnknownTypes(unknown)

    def on(self, command_type: type[B], handler: BodyHandler[B]) -> None:
        """Handle a type with `handler`. Raises ValueError if it has one already, UnknownType if the registry does not know it."""
        name = self._registry.require(command_type)
        if name in self._handlers:
            raise ValueError(f"{name} has a handler already; a command has exactly one")
        self._handlers[name] = handler

    def __call__(self, message: Message) -> Sequence[Outgoing]:
        """Handle one message and return what follows from it. A type without a handler gets the policy for unknown types.

        Raises Undecodable, UnknownType (or TransientError, by the policy), and whatever the handler raises.
        """
        handler = self._handlers.get(message.type)
        if handler is None:
            self.unknown.meet(message)
            return []
        return _follow_up(message, handler(self._registry.decode(message), message), self._source)


class EventProcessor:
    """Gives each event to every handler of its type. Calling it is safe from several threads once every `on` is made."""

    def __init__(
        self, registry: TypeRegistry, source: str, *, unknown: UnknownTypePolicy = UnknownTypePolicy.DEAD_LETTER
    ) -> None:
        self._registry = registry
        self._source = source
        self._handlers: dict[str, list[BodyHandler[Any]]] = {}
        self.unknown = UnknownTypes(unknown)

    def on(self, event_type: type[B], handler: BodyHandler[B]) -> None:
        """Handle a type with `handler` too, behind those it has. Raises UnknownType if the registry does not know it."""
        self._handlers.setdefault(self._registry.require(event_type), []).append(handler)

    def __call__(self, message: Message) -> Sequence[Outgoing]:
        """Handle one message and return what follows from it, handler by handler. A known type without a handler is of no interest.

        If one handler raises, nothing of the message counts: a retry runs all of them again. Raises Undecodable, UnknownType (or
        TransientError, by the policy), and whatever a handler raises.
        """
        if message.type not in self._registry:
            self.unknown.meet(message)
            return []
        body = self._registry.decode(message)
        bodies = [followed for handler in self._handlers.get(message.type, ()) for followed in handler(body, message)]
        return _follow_up(message, bodies, self._source)


def _follow_up(cause: Message, bodies: Sequence[Protobuf], source: str) -> list[Outgoing]:
    headers = caused_by(cause)
    return [marshal(body, source=source, headers=headers) for body in bodies]
