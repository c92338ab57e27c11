"""Whatever order commands and answers come in, money is moved at most once and every command is answered in the end."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from payment_service.bootstrap import parts
from payment_service.config import Config
from payment_service.domain.card import CardCharged, CardDeclined, CardRefunded
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
STEPS = st.lists(st.sampled_from(["charge", "refund", "gateway"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, declines=st.booleans())
def test_money_is_conserved_in_any_order(config: Callable[..., Config], steps: list[str], declines: bool) -> None:
    payments = Decider(parts(config(), metrics=CollectorRegistry()))
    answered: set[str] = set()

    def gateway() -> None:
        for effect in [effect for effect in payments.asked if effect not in answered]:
            answered.add(effect)
            if effect == REFUND:
                payments.answer(effect, CardRefunded(ORDER, "rf"))
            else:
                payments.answer(effect, CardDeclined(ORDER, "no") if declines else CardCharged(ORDER, "ch"))

    for step in steps:
        if step == "charge":
            amount = Money(currency="EUR", minor_units=100)
            payments.tell(ChargePaymentCommand(order_id=ORDER, customer_id=CUSTOMER, amount=amount))
        elif step == "refund":
            payments.tell(RefundPaymentCommand(order_id=ORDER, reason="why not"))
        else:
            gateway()
    gateway()
    gateway()
    told = payments.told()
    assert len(payments.asked) == len(set(payments.asked))
    assert any(isinstance(body, PaymentRefundedEvent) for body in told) == ("refund" in steps)
    assert any(isinstance(body, PaymentChargedEvent | PaymentDeclinedEvent) for body in told) == ("charge" in steps)
    for charged, refunded, status in payments.rows("SELECT charged_minor, refunded_minor, status FROM payment"):
        took = CHARGE in payments.asked and not declines
        assert charged == (100 if took else 0)
        assert refunded == (charged if "refund" in steps else 0)
        assert status in {"charged", "declined", "refunded", "voided"}
    payments.store.close()
