"""The event store: append with an expected version, read a stream, read all in order, snapshots beside the stream.

Called inside a transaction by the pipeline. Data and states are JSON text; it does not know what they mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.errors import VersionConflict
from millrace.store.sql import ColumnType, PostgresSql, Sql


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream's version (0: it does not exist) and its snapshot, taken at exactly that version. `state` is None if there is none."""

    version: int
    state: str | None
    snapshot_version: int


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. `revision` is the number of the shape that its data has, from 1."""

    type: str
    data: str
    revision: int = 1


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was appended. `cursor` orders all events of the store and resumes `read_all`."""

    stream: str
    version: int
    type: str
    data: str
    revision: int
    recorded_at: int
    cursor: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream that stands at `expected_version`, and the snapshot that includes them."""

    stream: str
    expected_version: int
    events: Sequence[NewEvent]
    state: str
    snapshot_version: int


NO_STREAM = StoredStream(0, None, 0)
_STREAM: Mapping[str, ColumnType] = {
    "id": "text",
    "expected": "bigint",
    "version": "bigint",
    "state": "text",
    "snapshot": "bigint",
}
_EVENT: Mapping[str, ColumnType] = {
    "stream": "text", "version": "bigint", "type": "text", "data": "text", "revision": "bigint", "recorded_at": "bigint",
    "behind": "bigint",
}  # fmt: skip
_COLUMNS = "stream, version, type, data, revision, recorded_at"
_INSERT = f"INSERT INTO event ({_COLUMNS}) SELECT {_COLUMNS} FROM rows"
# A transaction that appends to a stream behind another may have begun before it, and so have the lower id. An event is ordered by the
# greater of its own transaction's id and its predecessor's: never before its predecessor, and never while its transaction is open.
_INSERT_ON_POSTGRESQL = (
    f"INSERT INTO event ({_COLUMNS}, transaction_id) SELECT {_COLUMNS}, greatest(pg_current_xact_id(), (SELECT last.transaction_id "
    "FROM event AS last WHERE last.stream = rows.stream AND last.version = rows.behind)) FROM rows"
)


class EventStore:
    """The events of one database, inside one transaction."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._alone = False

    def load(self, streams: Sequence[str]) -> dict[str, StoredStream]:
        """Lock and return every stream that exists, in id order; others are absent from the answer."""
        found = self._sql.each(
            "SELECT id, version, state, snapshot_version FROM stream WHERE id IN (SELECT id FROM rows) ORDER BY id"
            + self._sql.for_update,
            {"id": "text"},
            [(stream,) for stream in sorted(set(streams))],
        )
        return {stream: StoredStream(version, state, snapshot) for stream, version, state, snapshot in found}

    def append(self, appends: Sequence[Append], recorded_at: int) -> None:
        """Append to every stream, or to none: raises VersionConflict where one does not stand at its expected version."""
        ordered = sorted((a for a in appends if a.events), key=lambda append: append.stream)
        rows = [(a.stream, a.expected_version, a.expected_version + len(a.events), a.state, a.snapshot_version) for a in ordered]
        new = [row for row in rows if row[1] == 0]
        known = [row for row in rows if row[1] > 0]
        created = self._sql.asked(
            "INSERT INTO stream (id, version, state, snapshot_version) SELECT id, version, state, snapshot FROM rows WHERE true "
            "ON CONFLICT DO NOTHING RETURNING id",
            _STREAM,
            new,
        )
        updated = self._sql.asked(
            "UPDATE stream SET version = rows.version, state = rows.state, snapshot_version = rows.snapshot "
            "FROM rows WHERE stream.id = rows.id AND stream.version = rows.expected RETURNING stream.id",
            _STREAM,
            known,
        )
        written = created() + updated()
        if len(written) < len(rows):
            missed = sorted({row[0] for row in rows} - {row[0] for row in written})
            raise VersionConflict(f"not at the expected version: {', '.join(missed[:5])}")
        self._sql.each(
            _INSERT_ON_POSTGRESQL if isinstance(self._sql, PostgresSql) else _INSERT,
            _EVENT,
            [
                (a.stream, a.expected_version + number, event.type, event.data, event.revision, recorded_at, a.expected_version)
                for a in ordered
                for number, event in enumerate(a.events, start=1)
            ],
        )

    def read(self, stream: str, after_version: int = 0) -> list[StoredEvent]:
        """Return the events of a stream behind a version, oldest first."""
        return self._events(
            "WHERE stream = :stream AND version > :after ORDER BY version", {"stream": stream, "after": after_version}
        )

    def read_all(self, after: tuple[int, int] = (0, 0), limit: int = 1000) -> list[StoredEvent]:
        """Return events of all streams behind a cursor: each once by going on behind the last, a stream's in the order of its versions.

        No event appears later before one already returned. On PostgreSQL events of transactions still open, and those behind them,
        are left for the next call: sequence numbers are given out before commit, so reading by number alone would lose the rows of a
        transaction that commits late. Behind `exclude_writers` there are none, and nothing is left.
        """
        parameters = {"transaction": after[0], "position": after[1], "limit": limit}
        if isinstance(self._sql, PostgresSql):
            settled = "" if self._alone else "AND transaction_id < pg_snapshot_xmin(pg_current_snapshot()) "
            return self._events(
                "WHERE (transaction_id, position) > (:transaction::text::xid8, :position) "
                f"{settled}ORDER BY transaction_id, position LIMIT :limit",
                parameters,
                transaction="transaction_id::text::bigint",
            )
        return self._events("WHERE position > :position ORDER BY position LIMIT :limit", parameters)

    def exclude_writers(self) -> None:
        """Keep everybody else from appending until the transaction ends; who is at it is waited for. Reading goes on."""
        if isinstance(self._sql, PostgresSql):
            self._sql.execute("LOCK TABLE event IN SHARE ROW EXCLUSIVE MODE")
        self._alone = True

    def _events(self, rest: str, parameters: Mapping[str, object], transaction: str = "0") -> list[StoredEvent]:
        found = self._sql.execute(f"SELECT {_COLUMNS}, {transaction}, position FROM event {rest}", parameters)
        return [StoredEvent(s, v, kind, data, rev, at, (tx, place)) for s, v, kind, data, rev, at, tx, place in found]
