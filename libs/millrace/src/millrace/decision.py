"""What a pure handler says should happen; the pipeline makes it so, in one transaction.

Handlers get immutable state and return a `Decision`. They do no I/O, so one message's failure cannot touch another's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message as Protobuf

S = TypeVar("S")
Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns an event's JSON object of one revision into that of the next."""


@dataclass(frozen=True, slots=True)
class StreamType(Generic[S]):
    """A family of event streams, named `<category>-<id>`: its first state, how an event changes it, and its event classes.

    States and events are frozen dataclasses. `snapshot_version` is raised whenever `state` changes shape: older snapshots are then
    ignored and the stream is replayed.

    Stored events are never rewritten. An event class whose fields change gets an upcast more in `upcasts`: the n-th turns revision n into
    n + 1, and the class as it stands is the one behind the last. A class that is renamed stays readable under the names of `formerly`;
    its revisions go on counting. Upcasts are pure, and apply wherever stored events are read.
    """

    category: str
    initial: S
    evolve: Callable[[S, Any], S]
    events: tuple[type, ...]
    snapshot_version: int = 1
    upcasts: Mapping[type, Sequence[Upcast]] = field(default_factory=dict)
    formerly: Mapping[str, type] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for an upcast or a former name of a class that is not among `events`, or a name that is still in use."""
        if strangers := {*self.upcasts, *self.formerly.values()} - set(self.events):
            raise ValueError(f"no events of {self.category}: {', '.join(sorted(event.__name__ for event in strangers))}")
        if taken := self.formerly.keys() & {event.__name__ for event in self.events}:
            raise ValueError(f"names of events of {self.category} still in use: {', '.join(sorted(taken))}")

    def revision(self, event: type) -> int:
        """Return the revision that new events of a class are stored in."""
        return 1 + len(self.upcasts.get(event, ()))

    def stream(self, entity_id: str) -> str:
        """Return the id of one entity's stream."""
        return f"{self.category}-{entity_id}"


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Ask for a `TimerFired` of `kind` after `delay`. The same `id` again replaces the timer."""

    id: str
    kind: str
    delay: timedelta
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a protobuf message to the topic its type declares, keyed by the field its type declares.

    `deadline` starts once the broker has the message, never before (rule: a broker that is away must not use up deadlines).
    """

    body: Protobuf
    sequence: int | None = None
    deadline: StartTimer | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """Ask for one call to the outside, made by the reactor registered for `type(request)`, with `id` as its idempotency key."""

    id: str
    request: object


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that follows from one input. Empty means: nothing happens, and the input is done."""

    events: Sequence[tuple[str, object]] = ()
    publish: Sequence[Publish] = ()
    effects: Sequence[Effect] = ()
    timers: Sequence[StartTimer] = ()
    cancel_timers: Sequence[str] = ()
    reply: object = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know beside its input: the time of the decision, the input's message id, and its key."""

    now: datetime
    message_id: str
    key: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer is due: which, for which key, and the attempt it was started with."""

    id: str
    kind: str
    key: str
    attempt: int


class Handler(Protocol):
    """Decides one kind of input. Pure: the same arguments always give the same decision."""

    def streams(self, body: Any) -> Sequence[str]:
        """Name every stream that `decide` reads or appends to."""

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        """Say what follows. Raises PermanentError to refuse, TransientError to be asked again later."""


class LookingHandler(Handler, Protocol):
    """A handler that learns only from its input's own streams which others it needs: a release names an order, the reservation names items.

    Its `streams` must be touched under its input's key alone (they are read before all others, under that key's lock, so that no two
    batches can wait for one another).
    """

    def more_streams(self, body: Any, states: Mapping[str, Any]) -> Sequence[str]:
        """Name the other streams that `decide` touches, given the states of those that `streams` named."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """Which handler decides which input, by the class of its body (a protobuf class, a command, an effect's result, `TimerFired`)."""

    stream_types: Sequence[StreamType[Any]]
    by_body: Mapping[type, Handler] = field(default_factory=dict)
