CREATE TABLE payment (
    order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, currency TEXT NOT NULL, amount_minor BIGINT NOT NULL, status TEXT NOT NULL,
    charged_minor BIGINT NOT NULL, refunded_minor BIGINT NOT NULL, reason TEXT NOT NULL, updated_at BIGINT NOT NULL
);

CREATE INDEX payment_by_status ON payment (status, order_id);

CREATE TABLE external_ledger (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, order_id TEXT NOT NULL, customer_id TEXT NOT NULL, currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, reference TEXT NOT NULL, made_at BIGINT NOT NULL
);
