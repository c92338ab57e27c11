ALTER TABLE consumer_position ADD COLUMN reset_id TEXT NOT NULL DEFAULT '';
