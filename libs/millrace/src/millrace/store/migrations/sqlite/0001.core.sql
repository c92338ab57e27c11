CREATE TABLE stream (id TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT, snapshot_version INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
    recorded_at INTEGER NOT NULL, UNIQUE (stream, version)
);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key BLOB, payload BLOB, headers BLOB NOT NULL, message_id TEXT NOT NULL
);

CREATE TABLE consumer_position (
    grp TEXT NOT NULL, topic TEXT NOT NULL, topic_id TEXT NOT NULL, part INTEGER NOT NULL, next_offset INTEGER, owner_epoch INTEGER NOT NULL,
    caught_up_at INTEGER NOT NULL, PRIMARY KEY (grp, topic_id, part)
) WITHOUT ROWID;

CREATE TABLE message_id (grp TEXT NOT NULL, id TEXT NOT NULL, sent_at INTEGER NOT NULL, PRIMARY KEY (grp, id, sent_at)) WITHOUT ROWID;

CREATE TABLE parked (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, key TEXT NOT NULL, record BLOB NOT NULL, topic TEXT NOT NULL,
    attempt INTEGER NOT NULL, due_at INTEGER NOT NULL, state TEXT NOT NULL, blocks INTEGER NOT NULL, reason TEXT NOT NULL,
    parked_at INTEGER NOT NULL
);

CREATE INDEX parked_key ON parked (grp, key, seq);

CREATE TABLE timer (
    id TEXT PRIMARY KEY, grp TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, attempt INTEGER NOT NULL, delay INTEGER NOT NULL,
    due_at INTEGER, awaits TEXT
) WITHOUT ROWID;

CREATE INDEX timer_due ON timer (grp, due_at);

CREATE INDEX timer_awaits ON timer (awaits) WHERE awaits IS NOT NULL;

CREATE TABLE effect (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, grp TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    request TEXT NOT NULL, headers TEXT NOT NULL, leased_until INTEGER NOT NULL
);
