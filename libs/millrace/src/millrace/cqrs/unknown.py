"""What a message gets whose type nobody here handles."""

import logging
from enum import Enum
from threading import Lock

from millrace.errors import TransientError, UnknownType
from millrace.message import Message

log = logging.getLogger(__name__)


class UnknownTypePolicy(Enum):
    """What to do with a message of an unknown type."""

    DEAD_LETTER = "dead_letter"
    """Raise UnknownType: it is dead at once. The default, since a type nobody knows is usually a mistake."""
    SKIP = "skip"
    """Acknowledge and count it: for topics whose other types are meant for others."""
    FAIL = "fail"
    """Raise TransientError: it is tried again until a version that knows the type is deployed; its key waits meanwhile."""


class UnknownTypes:
    """Applies a policy, and counts what it skipped. Safe to call from several threads."""

    def __init__(self, policy: UnknownTypePolicy) -> None:
        self._policy = policy
        self._lock = Lock()
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """How many messages were skipped so far."""
        return self._skipped

    def meet(self, message: Message) -> None:
        """Return if the message is to be skipped; raise UnknownType or TransientError as the policy says."""
        if self._policy is UnknownTypePolicy.DEAD_LETTER:
            raise UnknownType(f"{message.type} is handled by nobody here")
        if self._policy is UnknownTypePolicy.FAIL:
            raise TransientError(f"{message.type} is handled by nobody here yet")
        with self._lock:
            self._skipped += 1
        log.info("message of an unknown type skipped", extra={"message_type": message.type, "message_id": message.id})
