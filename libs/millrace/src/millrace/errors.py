"""The errors of Millrace, and what each makes the pipeline do.

    MillraceError
    ├── TransientError          try again with back-off
    │   ├── PublishTimeout      the broker gave no answer; the messages may still arrive
    │   ├── Unavailable         a dependency is away (database, broker, external part)
    │   │   └── TopicUnavailable    the topic is not there, or this program has no right to it
    │   ├── StreamUnreadable    a stream holds what this program cannot read; a newer one may
    │   └── OutcomeUnknown      an external part did not answer in time; what was asked may have happened
    ├── PermanentError          never try again: dead letter, or a refusal at the edge
    │   ├── Undecodable         bytes that are not what their headers say
    │   ├── UnknownType         a message type nobody declared
    │   ├── Invalid             content that breaks a rule; carries field violations
    │   ├── NotFound            what was asked for does not exist
    │   ├── AlreadyExists       the same id with other content
    │   ├── Refused             a business rule says no
    │   └── ProjectionFailed    a read model cannot show what was decided
    ├── Postponed               not now: a plain handler's message comes again after a time, and nothing failed
    ├── Fenced                  another member has taken this one's place; its handler ends
    ├── VersionConflict         another writer was first; the batch is run again
    └── PositionLost            this worker no longer owns a partition; its batch is dropped

An exception that is neither transient nor permanent counts as permanent: repeating a bug only repeats it.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class MillraceError(Exception):
    """Everything the library raises on purpose."""


class TransientError(MillraceError):
    """It may succeed if tried again."""


class PublishTimeout(TransientError):
    """No answer from the broker in time; the messages may still arrive."""


class Unavailable(TransientError):
    """A dependency is away."""


class TopicUnavailable(Unavailable):
    """The topic is not there, or this program has no right to it. Other topics of the same cluster may well be."""


class StreamUnreadable(TransientError):
    """A stream holds what this program cannot read. During a rolling upgrade a newer one can."""


class OutcomeUnknown(TransientError):
    """An external part did not answer in time; what was asked may have happened. Ask it before compensating."""


class PermanentError(MillraceError):
    """Trying again cannot help."""


class Undecodable(PermanentError):
    """The bytes are not what their headers say."""


class UnknownType(PermanentError):
    """Nobody declared this message type."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field and why it was refused; `field` is a path such as `items[0].quantity`."""

    field: str
    description: str


class Invalid(PermanentError):
    """Content breaks a rule. `violations` names each field at fault."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class NotFound(PermanentError):
    """What was asked for does not exist."""


class AlreadyExists(PermanentError):
    """The same id was used before, with other content."""


class Refused(PermanentError):
    """A business rule says no, in the present state."""


class ProjectionFailed(PermanentError):
    """A read model cannot show what was decided. It names no message: the pipeline finds the one at fault."""


class Postponed(MillraceError):
    """A message cannot be handled now. It counts as neither done nor failed: its partition rests for `seconds`, then it comes again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"not before {seconds:.3f} s")


class Fenced(MillraceError):
    """Another member, under the same id, has taken this one's place."""


class VersionConflict(MillraceError):
    """Another writer appended to the stream first."""


class PositionLost(MillraceError):
    """The stored consumer position is not the one this worker holds."""
