"""What becomes of an order's payment, message by message."""

from datetime import timedelta

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.decision import Context, Decision, Handler
from payment_service.application.settle_charge import SettleCharge, SettleDecline
from payment_service.application.settle_refund import SettleRefund
from payment_service.domain.card import CardCharged, CardDeclined, CardRefunded, ChargeCard, RefundCard
from payment_service.domain.payment import PAYMENTS, Payment, Status
from shop.payment.v1.payment_messages_pb2 import (
    ChargePaymentCommand,
    PaymentChargedEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    RefundPaymentCommand,
)
from shop.types.v1.money_pb2 import Money
from shopkit.testing.decider import Decider

ORDER = "6f3f0d52-4c7e-4f8e-9d53-000000000001"
CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
CHARGE, REFUND = f"charge-{ORDER}", f"refund-{ORDER}"


def charge(
    amount_minor: int = 2499, order_id: str = ORDER, customer_id: str = CUSTOMER, currency: str = "EUR"
) -> ChargePaymentCommand:
    amount = Money(currency=currency, minor_units=amount_minor)
    return ChargePaymentCommand(order_id=order_id, customer_id=customer_id, amount=amount)


def refund(reason: str = "stock short", order_id: str = ORDER) -> RefundPaymentCommand:
    return RefundPaymentCommand(order_id=order_id, reason=reason)


def kinds(told: list[Protobuf]) -> list[type]:
    return [type(body) for body in told]


def row(payments: Decider) -> tuple[str, int, int]:
    [found] = payments.rows("SELECT status, charged_minor, refunded_minor FROM payment")
    return found


def test_a_charge_is_asked_of_the_gateway_and_answered_once_it_is_known(payments: Decider) -> None:
    payments.tell(charge())
    assert payments.told() == []
    assert row(payments) == ("charging", 0, 0)
    asked = payments.request(CHARGE)
    assert asked == ChargeCard(ORDER, CUSTOMER, "EUR", 2499, payments.clock() + timedelta(seconds=20))
    payments.answer(CHARGE, CardCharged(ORDER, "ch_1"))
    [told] = payments.told()
    assert isinstance(told, PaymentChargedEvent)
    assert (told.order_id, told.amount) == (ORDER, Money(currency="EUR", minor_units=2499))
    assert told.charged_at.ToDatetime(payments.clock().tzinfo) == payments.clock()
    assert row(payments) == ("charged", 2499, 0)


def test_a_declined_charge_takes_nothing(payments: Decider) -> None:
    payments.tell(charge())
    payments.answer(CHARGE, CardDeclined(ORDER, "card declined"))
    [told] = payments.told()
    assert isinstance(told, PaymentDeclinedEvent)
    assert told.reason == "card declined"
    assert row(payments) == ("declined", 0, 0)


@pytest.mark.parametrize(
    ("handler", "outcome", "awaited"),
    [
        (SettleCharge(), CardCharged(ORDER, "ch_1"), Status.CHARGING),
        (SettleDecline(), CardDeclined(ORDER, "card declined"), Status.CHARGING),
        (SettleRefund(), CardRefunded(ORDER, "rf_1"), Status.REFUNDING),
    ],
)
def test_an_outcome_that_nobody_waits_for_changes_nothing(
    payments: Decider, handler: Handler, outcome: object, awaited: Status
) -> None:
    context = Context(payments.clock(), "id", ORDER)
    for standing in Status:
        states = {PAYMENTS.stream(ORDER): Payment(standing, ORDER, CUSTOMER, "EUR", 2499)}
        assert (handler.decide(outcome, states, context) == Decision()) == (standing is not awaited)


def test_a_refund_gives_back_what_was_charged(payments: Decider) -> None:
    payments.tell(charge())
    payments.answer(CHARGE, CardCharged(ORDER, "ch_1"))
    payments.told()
    payments.tell(refund())
    payments.tell(refund())
    assert payments.told() == []
    assert row(payments) == ("refunding", 2499, 0)
    assert payments.request(REFUND) == RefundCard(ORDER, CUSTOMER, "EUR", 2499)
    payments.answer(REFUND, CardRefunded(ORDER, "rf_1"))
    [told] = payments.told()
    assert isinstance(told, PaymentRefundedEvent)
    assert told.amount == Money(currency="EUR", minor_units=2499)
    assert row(payments) == ("refunded", 2499, 2499)
    payments.tell(refund())
    assert payments.told() == [told]
    assert payments.asked == [CHARGE, REFUND]


def test_a_refund_that_comes_first_is_answered_with_nothing_and_refuses_the_charge(payments: Decider) -> None:
    payments.tell(refund())
    [told] = payments.told()
    assert isinstance(told, PaymentRefundedEvent)
    assert told.amount == Money(currency="XXX", minor_units=0)
    payments.tell(charge())
    [declined] = payments.told()
    assert isinstance(declined, PaymentDeclinedEvent)
    assert declined.reason == "refunded before"
    assert row(payments) == ("voided", 0, 0)
    assert payments.asked == []
    payments.tell(refund())
    assert payments.told() == [told]


def test_a_refund_and_a_charge_in_one_batch_are_decided_in_their_order(payments: Decider) -> None:
    payments.tell(refund(), charge())
    assert kinds(payments.told()) == [PaymentRefundedEvent, PaymentDeclinedEvent]
    assert payments.asked == []


def test_a_refund_while_charging_waits_for_the_charge_and_gives_it_back(payments: Decider) -> None:
    payments.tell(charge())
    payments.tell(refund())
    payments.tell(refund())
    assert payments.told() == []
    assert payments.asked == [CHARGE]
    payments.answer(CHARGE, CardCharged(ORDER, "ch_1"))
    assert kinds(payments.told()) == [PaymentChargedEvent]
    assert payments.asked == [CHARGE, REFUND]
    payments.answer(REFUND, CardRefunded(ORDER, "rf_1"))
    assert kinds(payments.told()) == [PaymentRefundedEvent]
    assert row(payments) == ("refunded", 2499, 2499)


def test_a_refund_while_charging_is_answered_with_nothing_when_the_charge_is_declined(payments: Decider) -> None:
    payments.tell(charge())
    payments.tell(refund())
    payments.answer(CHARGE, CardDeclined(ORDER, "no"))
    declined, refunded = payments.told()
    assert isinstance(declined, PaymentDeclinedEvent)
    assert refunded.amount == Money(currency="EUR", minor_units=0)
    assert payments.asked == [CHARGE]


def test_a_refund_of_a_declined_charge_is_answered_with_nothing(payments: Decider) -> None:
    payments.tell(charge())
    payments.answer(CHARGE, CardDeclined(ORDER, "no"))
    payments.told()
    payments.tell(refund())
    [told] = payments.told()
    assert told.amount == Money(currency="EUR", minor_units=0)


def test_a_charge_that_comes_after_the_refund_is_refused(payments: Decider) -> None:
    payments.tell(charge())
    payments.answer(CHARGE, CardCharged(ORDER, "ch_1"))
    payments.tell(refund())
    payments.told()
    payments.tell(charge())
    assert kinds(payments.told()) == [PaymentDeclinedEvent]
    payments.answer(REFUND, CardRefunded(ORDER, "rf_1"))
    payments.tell(charge())
    assert kinds(payments.told()) == [PaymentRefundedEvent, PaymentDeclinedEvent]
    assert payments.asked == [CHARGE, REFUND]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (charge(amount_minor=-1), "amount.minor_units"),
        (charge(currency="euro"), "amount.currency"),
        (charge(customer_id="somebody"), "customer_id"),
        (charge(order_id="order-1"), "order_id"),
        (refund(order_id="order-1"), "order_id"),
        (ChargePaymentCommand(order_id=ORDER, customer_id=CUSTOMER), "amount.currency"),
    ],
)
def test_impossible_content_is_a_dead_letter_that_names_the_field(payments: Decider, body: Protobuf, field: str) -> None:
    [result] = payments.tell(body)
    assert field in str(result.error)
    assert payments.told() == ["payment.request.dlt"]
    assert payments.rows("SELECT order_id FROM payment") == []


def test_the_same_order_with_another_amount_is_a_dead_letter(payments: Decider) -> None:
    payments.tell(charge(2499))
    payments.tell(charge(2500))
    assert payments.told() == ["payment.request.dlt"]
    assert payments.request(CHARGE).amount_minor == 2499


def test_a_refund_is_not_refused_for_the_words_of_its_reason(payments: Decider) -> None:
    payments.tell(refund("line\nbreak\x00" + "x" * 1000))
    assert kinds(payments.told()) == [PaymentRefundedEvent]
    [(reason,)] = payments.rows("SELECT reason FROM payment")
    assert reason.startswith("line break xxx")
    assert len(reason) == 500


def test_a_message_of_another_services_type_is_a_dead_letter(payments: Decider) -> None:
    payments.tell(PaymentChargedEvent(order_id=ORDER))
    assert payments.told() == ["payment.result.dlt"]
