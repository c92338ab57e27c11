CREATE TABLE order_fact (
    order_id TEXT PRIMARY KEY, status TEXT, currency TEXT NOT NULL, amount_minor BIGINT NOT NULL, reason TEXT NOT NULL,
    is_delayed BIGINT NOT NULL, duration BIGINT, shipping TEXT, messages BIGINT NOT NULL
);

CREATE INDEX order_fact_status ON order_fact (status, currency);

CREATE INDEX order_fact_duration ON order_fact (duration) WHERE duration IS NOT NULL;
