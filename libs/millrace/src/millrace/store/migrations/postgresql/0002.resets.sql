ALTER TABLE consumer_position ADD COLUMN reset_id text NOT NULL DEFAULT '';
