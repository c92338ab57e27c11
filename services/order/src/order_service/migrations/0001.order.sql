CREATE TABLE order_view (
    order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, status TEXT NOT NULL, created_at BIGINT NOT NULL, document TEXT NOT NULL
);

CREATE INDEX order_view_newest ON order_view (created_at, order_id);

CREATE INDEX order_view_customer ON order_view (customer_id, created_at, order_id);

CREATE TABLE catalogue_view (
    item_id TEXT PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, price_minor BIGINT NOT NULL, active BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
