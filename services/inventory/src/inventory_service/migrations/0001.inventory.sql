CREATE TABLE item (
    item_id TEXT PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, price_minor BIGINT NOT NULL, active BIGINT NOT NULL,
    sequence BIGINT NOT NULL, on_hand BIGINT NOT NULL, reserved BIGINT NOT NULL, shipped BIGINT NOT NULL, changed_at BIGINT NOT NULL,
    moved_at BIGINT NOT NULL
);

CREATE TABLE reservation (order_id TEXT PRIMARY KEY, status TEXT NOT NULL, lines TEXT NOT NULL, updated_at BIGINT NOT NULL);
