"""Each message about an order tells its customer one thing, once, in whatever order they come."""

from typing import Any
from uuid import uuid4

import pytest

from notification_service.application.set_contact import SetContact
from shop.notification.v1.notification_messages_pb2 import (
    NOTIFICATION_CHANNEL_RECORD,
    NotificationKind,
    NotificationSentEvent,
)

ORDER, CUSTOMER = str(uuid4()), str(uuid4())
KINDS = [
    "order_created", "order_confirmed", "order_cancelled", "order_completed", "shipping_scheduled", "shipping_delayed",
    "shipping_failed", "shipping_delivered",
]  # fmt: skip


def kinds(sent: list[Any]) -> list[str]:
    return [NotificationKind.Name(m.body(NotificationSentEvent).kind).removeprefix("NOTIFICATION_KIND_").lower() for m in sent]


@pytest.mark.parametrize("order", [KINDS, KINDS[::-1]])
def test_every_kind_of_message_is_told_once_whatever_the_order(benches: Any, mailer: Any, about: Any, order: list[str]) -> None:
    bench = benches(mailer)
    records = [bench.record(about(ORDER, CUSTOMER)[kind]) for kind in order]
    bench.deliver(*records, records[0])
    bench.deliver(*records)
    assert kinds(bench.sent()) == order
    assert len(bench.rows("SELECT 1 FROM notification WHERE sent_at IS NOT NULL")) == len(KINDS)


def test_an_unknown_customer_is_told_for_the_record_only(benches: Any, mailer: Any, about: Any) -> None:
    bench = benches(mailer)
    bench.hear(about(ORDER, CUSTOMER)["order_created"])
    (sent,) = bench.sent()
    told = sent.body(NotificationSentEvent)
    assert (told.order_id, told.customer_id, told.channel) == (ORDER, CUSTOMER, NOTIFICATION_CHANNEL_RECORD)
    assert sent.topic == "notification.sent"
    assert bench.rows("SELECT 1 FROM effect") == []


def test_a_message_whose_id_the_library_forgot_is_still_told_once(benches: Any, mailer: Any, about: Any) -> None:
    bench = benches(mailer)
    record = bench.record(about(ORDER, CUSTOMER)["order_created"])
    bench.deliver(record)
    bench.rows("DELETE FROM message_id")
    bench.deliver(record)
    assert len(bench.sent()) == 1


def test_texts_name_what_happened(benches: Any, mailer: Any, about: Any) -> None:
    bench = benches(mailer)
    bench.order(CUSTOMER, SetContact(CUSTOMER.upper(), "ada@example.org", "Ada"))
    bench.hear(*about(ORDER, CUSTOMER, "card declined").values())
    texts = {kind: (subject, body) for kind, subject, body in bench.rows("SELECT kind, subject, body FROM notification")}
    assert set(texts) == set(KINDS)
    assert all(body.startswith("Dear Ada,\n") and ORDER in body for _, body in texts.values())
    assert "EUR 49.98" in texts["order_created"][1]
    assert "2 x Teapot" in texts["order_created"][1]
    assert "card declined" in texts["order_cancelled"][1]
    assert "late" in texts["order_completed"][1]
    assert "T-1 should arrive on 2026-03-01" in texts["shipping_scheduled"][1]


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("order_created", {"items": []}, "items"),
        ("order_created", {"customer_id": "a\x00b"}, "customer_id"),
        ("order_created", {"sequence": 0}, "sequence"),
        ("order_created", {"status": 5}, "status"),
        ("order_confirmed", {"confirmed_at": None}, "confirmed_at"),
        ("order_cancelled", {"reason": "\x00"}, "reason"),
        ("shipping_delayed", {"tracking_number": ""}, "tracking_number"),
        ("shipping_failed", {"customer_id": "7"}, "customer_id"),
    ],
)
def test_impossible_content_is_a_dead_letter(
    benches: Any, mailer: Any, about: Any, kind: str, change: dict[str, Any], fault: str
) -> None:
    bench = benches(mailer)
    body = about(ORDER, CUSTOMER)[kind]
    for name, value in change.items():
        body.ClearField(name)
        if value not in (None, []):
            setattr(body, name, value)
    bench.hear(body)
    (dead,) = bench.sent()
    assert dead.topic.endswith(".dlt")
    assert f"{fault}: " in dead.headers["x-millrace-error"]
    assert bench.rows("SELECT 1 FROM notification") == []
