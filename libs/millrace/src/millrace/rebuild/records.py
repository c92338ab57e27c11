"""Makes everything anew that a service recorded from Kafka's topics, while the service goes on or stands still.

The service's own handlers and projections decide all records again, in a shadow of its tables. Then, in one transaction with every writer
kept out, the shadow takes the tables' place and the group's positions move to where the reading got; a service that runs finds its
positions lost, claims them anew and reads on from there, once more what it had read beyond. What people settled stays settled: a dead letter that the service has read and no
longer holds was given up, or handled after a redrive.
"""

from dataclasses import dataclass
from datetime import timedelta

from millrace.clock import micros, utc_now
from millrace.errors import PositionLost, Refused
from millrace.inbox.message_ids import KEEP_DAYS
from millrace.inbox.positions import Move, PartitionId
from millrace.kafka.config import KafkaConfig
from millrace.kafka.onward import OnwardReader
from millrace.pipeline.engine import Batch, Engine, EngineConfig
from millrace.pipeline.inputs import unpack_record
from millrace.rebuild.rebuildable import Rebuildable
from millrace.rebuild.shadow import Shadow
from millrace.store.contract import Store, Transaction

_RECORDED = ("message_id", "stream", "event")
_ASKED_FOR = ("outbox", "timer", "effect")
_NEAR = 500
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild read and made."""

    records: int
    streams: int
    events: int


def rebuild_records(store: Store, kafka: KafkaConfig, plan: Rebuildable, *, accept_less: bool = False) -> Rebuilt:
    """Make a service's events, read models, message ids and parked messages anew from its topics' beginnings.

    Raises Refused where the result would hold less than what is there (records that Kafka no longer has), unless `accept_less`, or where
    the service does more than record; NotFound or Unavailable for Kafka, and what the database raises. In all these cases nothing has
    changed. Not for a store in memory.
    """
    store.migrate(*plan.migrations)
    reader = OnwardReader(kafka, plan.topics)
    try:
        rebuild = _Rebuild(store, reader, plan)
        try:
            return rebuild.run(accept_less=accept_less)
        finally:
            rebuild.close()
    finally:
        reader.close()


class _Rebuild:
    """One rebuild: a shadow, the engine that fills it, and the reader it is filled from."""

    def __init__(self, store: Store, reader: OnwardReader, plan: Rebuildable) -> None:
        self._reader = reader
        self._group = plan.group
        self._models = [table for projection in plan.projections for table in projection.tables]
        # In the order in which a batch comes to them, so that nobody who is at one waits for another held here.
        self._shadow = Shadow(store.session(), [*_RECORDED, *self._models, *_ASKED_FOR, "parked"])
        self._engine = Engine(EngineConfig(plan.group, ""), plan.handlers, plan.registry, plan.projections)
        self._ids = {part: PartitionId(part[0], reader.topic_ids[part[0]][0], part[1]) for part in reader.positions}
        self._records = 0

    def run(self, *, accept_less: bool) -> Rebuilt:
        """Read to the end, again until little came meanwhile, and take over."""
        with self._shadow.transaction():
            pass
        with self._shadow.transaction() as tx:
            tx.sql.execute(f"CREATE TEMPORARY TABLE recorded_before AS SELECT id, version FROM {self._shadow.real('stream')}")
        for _ in range(_MOST_ROUNDS):
            if self._read_to_end() < _NEAR:
                break
        while keys := self._settle():
            self._engine.process(self._shadow, Batch(due_keys=keys))
        with self._shadow.transaction() as tx:
            return self._take_over(tx, accept_less=accept_less)

    def close(self) -> None:
        """Give the shadow up."""
        self._shadow.close()

    def _read_to_end(self) -> int:
        before = self._records
        for records in self._reader.to_end():
            self._engine.process(self._shadow, Batch([self._engine.decoder.decode(record) for record in records]))
            self._records += len(records)
        return self._records - before

    def _settle(self) -> list[str]:
        """Give up the dead letters that the service has read and no longer holds; return their keys, whose successors are due."""
        with self._shadow.transaction() as tx:
            read_to = self._read_to(tx)
            found = tx.sql.execute(
                f"SELECT t.seq, t.key, t.record FROM parked t WHERE t.state = 'dead' AND NOT EXISTS (SELECT 1 FROM "
                f"{self._shadow.real('parked')} r WHERE r.grp = t.grp AND r.key = t.key AND r.record = t.record)"
            )
            keys: set[str] = set()
            for seq, key, packed in found:
                record = unpack_record(packed)
                if record.offset < read_to.get(self._ids[record.topic, record.partition], 0):
                    tx.sql.execute("DELETE FROM parked WHERE seq = :seq", {"seq": seq})
                    keys.add(key)
        return sorted(keys)

    def _read_to(self, tx: Transaction) -> dict[PartitionId, int]:
        found = tx.sql.execute(
            "SELECT topic, topic_id, part, next_offset FROM consumer_position WHERE grp = :grp AND next_offset IS NOT NULL",
            {"grp": self._group},
        )
        return {PartitionId(topic, topic_id, part): offset for topic, topic_id, part, offset in found}

    def _take_over(self, tx: Transaction, *, accept_less: bool) -> Rebuilt:
        """Put the shadow in place, with the positions it stands for."""
        held = tx.positions.claim(self._group, list(self._ids.values()))
        offsets = {self._ids[part]: offset for part, offset in self._reader.positions.items()}
        self._shadow.exclude_writers(tx.sql)
        self._check(tx, accept_less=accept_less)
        kept = {"grp": self._group, "horizon": micros(utc_now() - timedelta(days=KEEP_DAYS))}
        self._shadow.replace(tx.sql, "message_id", "grp = :grp AND sent_at >= :horizon", kept)
        for table in ("stream", "event", *self._models):
            self._shadow.replace(tx.sql, table)
        self._shadow.replace(tx.sql, "parked", "grp = :grp", {"grp": self._group})
        moves = [Move(part, position, offsets[part]) for part, position in held.items() if offsets[part]]
        if not tx.positions.advance(self._group, moves)():
            raise PositionLost(f"{self._group} reads partitions that its topics do not have")
        return Rebuilt(self._records, _count(tx, "stream"), _count(tx, "event"))

    def _check(self, tx: Transaction, *, accept_less: bool) -> None:
        asked_for = [
            table for table in _ASKED_FOR if _count(tx, table, " WHERE topic NOT LIKE '%.dlt'" if table == "outbox" else "")
        ]
        if asked_for:
            raise Refused(f"{self._group} does more than record: its handlers leave rows in {', '.join(asked_for)}")
        less = _count(
            tx,
            "recorded_before b LEFT JOIN stream s ON s.id = b.id WHERE s.id IS NULL OR s.version < b.version",
        )
        if less and not accept_less:
            raise Refused(f"{less} streams would hold fewer events than they do: Kafka no longer has all of their records")


def _count(tx: Transaction, table: str, condition: str = "") -> int:
    return int(tx.sql.execute(f"SELECT count(*) FROM {table}{condition}")[0][0])
