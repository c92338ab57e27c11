"""What a package tells `millrace rebuild` of a service, by an entry point of the group `millrace.rebuildable`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers
from millrace.pipeline.staging import Projection


@dataclass(frozen=True, slots=True)
class Rebuildable:
    """A service's own code, as its engine is given it.

    `topics` are all those its group reads, where everything it has follows from them: its handlers decide events and nothing else. Without
    them only its read models can be rebuilt, from its events, and neither handlers nor registry are needed.
    """

    group: str
    handlers: Handlers
    projections: Sequence[Projection]
    registry: TypeRegistry = field(default_factory=lambda: TypeRegistry(()))
    topics: Sequence[str] = ()
    migrations: Sequence[Path] = ()
