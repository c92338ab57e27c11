"""A customer with an address gets one mail for each notification, repeated under one id until it is taken."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from millrace.decision import Context, Decision
from millrace.errors import OutcomeUnknown, Unavailable
from millrace.testing.waiting import eventually
from notification_service.adapters.recorder import Recorder
from notification_service.application.ports import AddressRefused
from notification_service.application.send_mail import MailEnded, RecordMail
from notification_service.application.set_contact import SetContact
from notification_service.domain.notices import NOTICES, Channel, Kind, NoticesState
from shop.notification.v1.notification_messages_pb2 import (
    NOTIFICATION_CHANNEL_EMAIL,
    NOTIFICATION_CHANNEL_RECORD,
    NotificationSentEvent,
)
from shopkit.testing.bench import Bench

ORDER, CUSTOMER = str(uuid4()), str(uuid4())


def run_until(bench: Bench, hear: Any, condition: Callable[[], Any]) -> Any:
    """Deliver records while the service's reactors are at work, until the condition holds."""

    async def run() -> Any:
        async with bench.edge():
            bench.deliver(*hear)
            return await asyncio.to_thread(eventually, condition)

    return asyncio.run(run())


def known(bench: Bench) -> Bench:
    bench.order(CUSTOMER, SetContact(CUSTOMER, "ada@example.org", "Ada"))
    return bench


def test_a_known_customer_gets_a_mail_and_then_it_is_told(benches: Any, mailer: Any, about: Any) -> None:
    bench = known(benches(mailer))
    record = bench.record(about(ORDER, CUSTOMER)["order_created"])
    (sent,) = run_until(bench, [record, record], bench.sent)
    told = sent.body(NotificationSentEvent)
    assert told.channel == NOTIFICATION_CHANNEL_EMAIL
    (mail,) = mailer.mails
    assert (mail.id, mail.email, mail.name) == (told.notification_id, "ada@example.org", "Ada")
    assert bench.rows("SELECT channel FROM notification WHERE sent_at IS NOT NULL") == [("email",)]
    assert bench.rows("SELECT 1 FROM effect") == []


@pytest.mark.parametrize("fault", [Unavailable("away"), OutcomeUnknown("silent")])
def test_a_mail_that_was_perhaps_not_taken_is_repeated_under_the_same_id(
    benches: Any, mailer: Any, about: Any, fault: Exception
) -> None:
    bench = known(benches(mailer))
    mailer.faults = [fault, fault]
    (sent,) = run_until(bench, [bench.record(about(ORDER, CUSTOMER)["order_created"])], bench.sent)
    assert [mail.id for mail in mailer.mails] == [sent.body(NotificationSentEvent).notification_id] * 3


def test_an_address_refused_for_good_leaves_the_record(benches: Any, mailer: Any, about: Any) -> None:
    bench = known(benches(mailer))
    mailer.faults = [AddressRefused("no such mailbox")]
    (sent,) = run_until(bench, [bench.record(about(ORDER, CUSTOMER)["order_created"])], bench.sent)
    assert sent.body(NotificationSentEvent).channel == NOTIFICATION_CHANNEL_RECORD
    assert len(mailer.mails) == 1
    assert bench.rows("SELECT channel FROM notification") == [("record",)]


def test_without_a_mail_server_nothing_is_called(benches: Any, about: Any) -> None:
    bench = known(benches(Recorder()))
    bench.hear(about(ORDER, CUSTOMER)["order_created"])
    assert bench.sent()[0].body(NotificationSentEvent).channel == NOTIFICATION_CHANNEL_RECORD


def test_mail_asked_for_while_a_server_was_configured_ends_up_in_the_record(
    about: Any, mailer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from prometheus_client import CollectorRegistry

    from notification_service.bootstrap import parts

    caplog.set_level("INFO")
    with Bench(parts(mailer, (), CollectorRegistry())) as before:
        known(before).hear(about(ORDER, CUSTOMER)["order_created"])
        assert before.sent() == []
        recorder = parts(Recorder(), (), CollectorRegistry())
        before.parts = recorder
        before.rows("UPDATE effect SET leased_until = 0")
        (sent,) = run_until(before, [], before.sent)
    assert sent.body(NotificationSentEvent).channel == NOTIFICATION_CHANNEL_RECORD
    assert "ada@" not in caplog.text


def test_a_mail_whose_end_is_told_again_is_not_sent_again() -> None:
    ended = MailEnded("n-1", ORDER, CUSTOMER, Kind.ORDER_CREATED, Channel.EMAIL)
    states = {NOTICES.stream(ORDER): NoticesState(made=("n-1",), sent=("n-1",))}
    context = Context(datetime(2026, 3, 1, tzinfo=UTC), "id", ORDER)
    assert RecordMail().decide(ended, states, context) == Decision()
