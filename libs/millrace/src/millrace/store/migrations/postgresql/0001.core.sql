CREATE TABLE stream (id text PRIMARY KEY, version bigint NOT NULL, state text, snapshot_version bigint NOT NULL) WITH (fillfactor = 70);

CREATE TABLE event (
    position bigserial PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL, type text NOT NULL, data text NOT NULL,
    recorded_at bigint NOT NULL, transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(), UNIQUE (stream, version)
);

CREATE INDEX event_in_order ON event (transaction_id, position);

CREATE TABLE outbox (
    id bigserial PRIMARY KEY, topic text NOT NULL, key bytea, payload bytea, headers bytea NOT NULL, message_id text NOT NULL
);

CREATE TABLE consumer_position (
    grp text NOT NULL, topic text NOT NULL, topic_id text NOT NULL, part bigint NOT NULL, next_offset bigint, owner_epoch bigint NOT NULL,
    caught_up_at bigint NOT NULL, PRIMARY KEY (grp, topic_id, part)
) WITH (fillfactor = 50);

CREATE TABLE message_id (
    grp text NOT NULL, id text NOT NULL, sent_at bigint NOT NULL, PRIMARY KEY (grp, id, sent_at)
) PARTITION BY RANGE (sent_at);

CREATE TABLE message_id_default PARTITION OF message_id DEFAULT;

CREATE TABLE parked (
    seq bigserial PRIMARY KEY, grp text NOT NULL, key text NOT NULL, record bytea NOT NULL, topic text NOT NULL, attempt bigint NOT NULL,
    due_at bigint NOT NULL, state text NOT NULL, blocks bigint NOT NULL, reason text NOT NULL, parked_at bigint NOT NULL
);

CREATE INDEX parked_key ON parked (grp, key, seq);

CREATE TABLE timer (
    id text PRIMARY KEY, grp text NOT NULL, key text NOT NULL, kind text NOT NULL, attempt bigint NOT NULL, delay bigint NOT NULL,
    due_at bigint, awaits text
);

CREATE INDEX timer_due ON timer (grp, due_at);

CREATE INDEX timer_awaits ON timer (awaits) WHERE awaits IS NOT NULL;

CREATE TABLE effect (
    seq bigserial PRIMARY KEY, id text NOT NULL UNIQUE, grp text NOT NULL, key text NOT NULL, kind text NOT NULL, request text NOT NULL,
    headers text NOT NULL, leased_until bigint NOT NULL
);

CREATE INDEX effect_lease ON effect (grp, leased_until);

CREATE TABLE relay_exit (id bigint PRIMARY KEY, clean bigint NOT NULL);

INSERT INTO relay_exit (id, clean) VALUES (1, 1);
