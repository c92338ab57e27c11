"""Use case: the gateway's answer to a charge."""

from collections.abc import Mapping, Sequence

from millrace.decision import Context, Decision
from payment_service.application import answers
from payment_service.application.refund_payment import refund_effect
from payment_service.domain.card import CardCharged, CardDeclined
from payment_service.domain.payment import PAYMENTS, Charged, Declined, Payment, Status, evolve


class SettleCharge:
    """Decides CardCharged: the order is told, and what was to be refunded meanwhile is."""

    def streams(self, body: CardCharged) -> Sequence[str]:
        """The order's payment."""
        return (PAYMENTS.stream(body.order_id),)

    def decide(self, body: CardCharged, states: Mapping[str, Payment], context: Context) -> Decision:
        """Record the charge; a payment that is not being charged stays as it is."""
        stream = PAYMENTS.stream(body.order_id)
        if states[stream].status is not Status.CHARGING:
            return Decision()
        charged = Charged(body.reference, context.now)
        payment = evolve(states[stream], charged)
        effects = [refund_effect(payment)] if payment.refund_wanted else []
        return Decision([(stream, charged)], [answers.charged(payment)], effects)


class SettleDecline:
    """Decides CardDeclined: the order is told, and a refund that waited is answered with nothing."""

    def streams(self, body: CardDeclined) -> Sequence[str]:
        """The order's payment."""
        return (PAYMENTS.stream(body.order_id),)

    def decide(self, body: CardDeclined, states: Mapping[str, Payment], context: Context) -> Decision:
        """Record the refusal; a payment that is not being charged stays as it is."""
        stream = PAYMENTS.stream(body.order_id)
        before = states[stream]
        if before.status is not Status.CHARGING:
            return Decision()
        declined = Declined(body.reason, context.now)
        payment = evolve(before, declined)
        told = [answers.declined(payment, body.reason)]
        return Decision([(stream, declined)], [*told, answers.refunded(payment)] if before.refund_wanted else told)
