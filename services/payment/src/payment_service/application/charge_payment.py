"""Use case: the order asks for its money."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from millrace.decision import Context, Decision, Effect
from millrace.edge.validation import Violations
from millrace.errors import AlreadyExists
from payment_service.application import answers
from payment_service.domain.card import ChargeCard, charge_key
from payment_service.domain.payment import PAYMENTS, ChargeRequested, Payment, Status
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand


class ChargePayment:
    """Decides ChargePaymentCommand. A command that is repeated gets the answer again and charges nothing again."""

    def __init__(self, give_up: timedelta) -> None:
        """Wait up to `give_up` for a gateway that cannot be reached."""
        self._give_up = give_up

    def streams(self, body: ChargePaymentCommand) -> Sequence[str]:
        """The order's payment."""
        return (PAYMENTS.stream(body.order_id),)

    def decide(self, body: ChargePaymentCommand, states: Mapping[str, Payment], context: Context) -> Decision:
        """Ask the gateway, unless it was asked before or a refund came first. Raises Invalid and AlreadyExists (another amount)."""
        _check(body)
        stream = PAYMENTS.stream(body.order_id)
        payment = states[stream]
        if payment.status not in (Status.NONE, Status.VOIDED) and _differs(payment, body):
            raise AlreadyExists(f"order {body.order_id} was to be charged another amount or customer before")
        match payment.status:
            case Status.NONE:
                amount = body.amount
                requested = ChargeRequested(body.order_id, body.customer_id, amount.currency, amount.minor_units)
                card = ChargeCard(
                    body.order_id, body.customer_id, amount.currency, amount.minor_units, context.now + self._give_up
                )
                return Decision([(stream, requested)], effects=[Effect(charge_key(body.order_id), card)])
            case Status.CHARGING:
                return Decision()
            case Status.CHARGED:
                return Decision(publish=[answers.charged(payment)])
            case Status.DECLINED:
                return Decision(publish=[answers.declined(payment, payment.reason)])
            case Status.REFUNDING | Status.REFUNDED | Status.VOIDED:
                return Decision(publish=[answers.declined(payment, "refunded before")])


def _check(body: ChargePaymentCommand) -> None:
    violations = Violations()
    violations.uuid("order_id", body.order_id)
    violations.uuid("customer_id", body.customer_id)
    violations.money("amount", body.amount.currency, body.amount.minor_units)
    violations.raise_if_any()


def _differs(payment: Payment, body: ChargePaymentCommand) -> bool:
    asked = (body.customer_id, body.amount.currency, body.amount.minor_units)
    return asked != (payment.customer_id, payment.currency, payment.amount_minor)
