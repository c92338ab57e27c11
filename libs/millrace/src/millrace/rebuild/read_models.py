"""Rebuilds a service's read models from the events of its store, while the service writes on.

The events so far are shown to the projections over empty twins of their tables, page by page. In the last transaction nobody else may
append: the events that came meanwhile follow, and the twins' rows take the place of the tables'. So the result is what a replay of all
events gives, and readers see the old rows or the new, nothing between.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from millrace.clock import from_micros
from millrace.decision import StreamType
from millrace.eventstore.events import EventStore, StoredEvent
from millrace.pipeline.codec import StreamCodec
from millrace.pipeline.staging import Change, Projection
from millrace.rebuild.shadow import Shadow
from millrace.store.contract import Store, Transaction

_PAGE = 500
_MOST_STATES = 20_000


def rebuild_read_models(
    store: Store, stream_types: Sequence[StreamType[Any]], projections: Sequence[Projection], page: int = _PAGE
) -> int:
    """Make the tables of projections anew from all events of a store; return how many events there were.

    Raises what the database, an upcast or a projection raises; then nothing has changed. Not for a store in memory.
    """
    tables = [table for projection in projections for table in projection.tables]
    shadow = Shadow(store.session(), tables)
    replay = _Replay(StreamCodec(stream_types), projections, page)
    try:
        more = True
        while more:
            with shadow.transaction() as tx:
                more = replay.show_page(tx)
        with shadow.transaction() as tx:
            tx.events.exclude_writers()
            while replay.show_page(tx):
                pass
            for table in tables:
                shadow.replace(tx.sql, table)
    finally:
        shadow.close()
    return replay.shown


class _Replay:
    """Shows all events of a store to projections, in order, going on behind the last."""

    def __init__(self, codec: StreamCodec, projections: Sequence[Projection], page: int) -> None:
        self._codec = codec
        self._projections = projections
        self._page = page
        self._cursor = (0, 0)
        self._states: dict[str, tuple[int, Any]] = {}
        self.shown = 0

    def show_page(self, tx: Transaction) -> bool:
        """Show the next events; return whether there were any."""
        events = tx.events.read_all(self._cursor, self._page)
        if not events:
            return False
        changes = list(self._changes(tx.events, events))
        for projection in self._projections:
            projection.apply(tx.sql, changes)
        self._cursor = events[-1].cursor
        self.shown += len(events)
        return True

    def _changes(self, store: EventStore, events: Sequence[StoredEvent]) -> Iterator[Change]:
        for stored in events:
            evolve = self._codec.type_of(stored.stream).evolve
            event = self._codec.event(stored)
            state = evolve(self._state_before(store, stored), event)
            self._states[stored.stream] = (stored.version, state)
            yield Change(stored.stream, stored.version, event, state, from_micros(stored.recorded_at), "")
        while len(self._states) > _MOST_STATES:
            del self._states[next(iter(self._states))]  # the one that has not changed for longest

    def _state_before(self, store: EventStore, stored: StoredEvent) -> Any:
        version, state = self._states.pop(stored.stream, (0, None))
        if version and version == stored.version - 1:
            return state
        stream_type = self._codec.type_of(stored.stream)
        history = (
            [earlier for earlier in store.read(stored.stream) if earlier.version < stored.version] if stored.version > 1 else []
        )
        return reduce(stream_type.evolve, map(self._codec.event, history), stream_type.initial)
