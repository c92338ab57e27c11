CREATE TABLE notification (
    notification_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, customer_id TEXT NOT NULL, kind TEXT NOT NULL, channel TEXT NOT NULL,
    subject TEXT NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL, sent_at BIGINT
);

CREATE INDEX notification_place ON notification (created_at, notification_id);

CREATE INDEX notification_order ON notification (order_id, created_at, notification_id);

CREATE INDEX notification_customer ON notification (customer_id, created_at, notification_id);

CREATE TABLE contact (customer_id TEXT PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL, updated_at BIGINT NOT NULL);
