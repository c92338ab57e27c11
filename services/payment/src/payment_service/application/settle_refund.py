"""Use case: the gateway's answer to a refund."""

from collections.abc import Mapping, Sequence

from millrace.decision import Context, Decision
from payment_service.application import answers
from payment_service.domain.card import CardRefunded
from payment_service.domain.payment import PAYMENTS, Payment, Refunded, Status, evolve


class SettleRefund:
    """Decides CardRefunded: the order is told how much was given back."""

    def streams(self, body: CardRefunded) -> Sequence[str]:
        """The order's payment."""
        return (PAYMENTS.stream(body.order_id),)

    def decide(self, body: CardRefunded, states: Mapping[str, Payment], context: Context) -> Decision:
        """Record the refund; a payment that is not being refunded stays as it is."""
        stream = PAYMENTS.stream(body.order_id)
        if states[stream].status is not Status.REFUNDING:
            return Decision()
        refunded = Refunded(body.reference, context.now)
        return Decision([(stream, refunded)], [answers.refunded(evolve(states[stream], refunded))])
