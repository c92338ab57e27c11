"""Use case: the order wants back whatever was taken for it."""

from collections.abc import Mapping, Sequence

from millrace.decision import Context, Decision, Effect
from millrace.edge.validation import Violations
from payment_service.application import answers
from payment_service.domain.card import RefundCard, refund_key
from payment_service.domain.payment import PAYMENTS, Payment, RefundRequested, Status, Voided, evolve
from shop.payment.v1.payment_messages_pb2 import RefundPaymentCommand

_LONGEST_REASON = 500


class RefundPayment:
    """Decides RefundPaymentCommand. It may come twice, before the charge, or while the charge is under way; it is never refused."""

    def streams(self, body: RefundPaymentCommand) -> Sequence[str]:
        """The order's payment."""
        return (PAYMENTS.stream(body.order_id),)

    def decide(self, body: RefundPaymentCommand, states: Mapping[str, Payment], context: Context) -> Decision:
        """Give the money back, or say that none was taken, or wait until it is known. Raises Invalid."""
        violations = Violations()
        violations.uuid("order_id", body.order_id)
        violations.raise_if_any()
        stream = PAYMENTS.stream(body.order_id)
        payment = states[stream]
        match payment.status:
            case Status.NONE:
                voided = Voided(body.order_id, _storable(body.reason), context.now)
                return Decision([(stream, voided)], [answers.refunded(evolve(payment, voided))])
            case Status.CHARGING:
                return Decision() if payment.refund_wanted else Decision([(stream, RefundRequested(_storable(body.reason)))])
            case Status.CHARGED:
                return Decision([(stream, RefundRequested(_storable(body.reason)))], effects=[refund_effect(payment)])
            case Status.REFUNDING:
                return Decision()
            case Status.DECLINED | Status.REFUNDED | Status.VOIDED:
                return Decision(publish=[answers.refunded(payment)])


def refund_effect(payment: Payment) -> Effect:
    """Ask the gateway to give back all that was charged."""
    card = RefundCard(payment.order_id, payment.customer_id, payment.currency, payment.charged_minor)
    return Effect(refund_key(payment.order_id), card)


def _storable(reason: str) -> str:
    """Return words as text that every database takes: a compensation is not refused for the reason it gives."""
    return "".join(letter if letter.isprintable() else " " for letter in reason[:_LONGEST_REASON])
