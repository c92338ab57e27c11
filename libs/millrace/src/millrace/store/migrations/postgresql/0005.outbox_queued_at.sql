ALTER TABLE outbox ADD COLUMN queued_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000000)::bigint;
