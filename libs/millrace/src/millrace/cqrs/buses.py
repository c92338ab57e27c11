"""Send protobuf without naming topics or keys: the type says both. For programs that publish outside the pipeline."""

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.marshal import caused_by, marshal
from millrace.message import Message
from millrace.pubsub import Publisher


class CommandBus:
    """Sends orders to whoever handles their type. Safe to call from several threads."""

    def __init__(self, publisher: Publisher, source: str) -> None:
        self._publisher = publisher
        self._source = source

    def send(self, command: Protobuf, *, cause: Message | None = None) -> Message:
        """Return the message sent, once the broker has it. `cause` is the message this follows from.

        Raises UnknownType if the type declares no topic, Invalid if its key is empty, and what Publisher.publish raises.
        """
        outgoing = marshal(command, source=self._source, headers=caused_by(cause) if cause else {})
        self._publisher.publish([outgoing])
        return outgoing.message


class EventBus:
    """Tells everyone who listens what happened. Safe to call from several threads."""

    def __init__(self, publisher: Publisher, source: str) -> None:
        self._publisher = publisher
        self._source = source

    def publish(self, event: Protobuf, *, cause: Message | None = None, sequence: int | None = None) -> Message:
        """Return the message published, once the broker has it. `sequence` is its place among its entity's events.

        Raises UnknownType if the type declares no topic, Invalid if its key is empty, and what Publisher.publish raises.
        """
        outgoing = marshal(event, source=self._source, headers=caused_by(cause) if cause else {}, sequence=sequence)
        self._publisher.publish([outgoing])
        return outgoing.message
