CREATE TABLE shipment (
    order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, status TEXT NOT NULL, tracking_number TEXT NOT NULL, reason TEXT NOT NULL,
    expected_delivery_at BIGINT, updated_at BIGINT NOT NULL
);

CREATE INDEX shipment_by_status ON shipment (status, order_id);

CREATE TABLE external_ledger (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, order_id TEXT NOT NULL, customer_id TEXT NOT NULL, currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, reference TEXT NOT NULL, made_at BIGINT NOT NULL
);
