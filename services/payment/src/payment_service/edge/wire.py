"""Between the contract's types and the service's own."""

from collections.abc import Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from millrace.edge.validation import Violations
from payment_service.application.ports import PaymentView
from payment_service.domain.payment import Status
from shop.payment.v1 import payment_service_pb2 as pb
from shop.types.v1.money_pb2 import Money
from shopkit.rules import Rule, Then

STATUSES: Mapping[Status, pb.PaymentStatus.ValueType] = {
    Status.CHARGING: pb.PAYMENT_STATUS_PENDING,
    Status.CHARGED: pb.PAYMENT_STATUS_CHARGED,
    Status.DECLINED: pb.PAYMENT_STATUS_DECLINED,
    Status.REFUNDING: pb.PAYMENT_STATUS_REFUNDING,
    Status.REFUNDED: pb.PAYMENT_STATUS_REFUNDED,
    Status.VOIDED: pb.PAYMENT_STATUS_VOIDED,
}
_OUTCOMES: Mapping[Then, pb.GatewayOutcome.ValueType] = {
    Then.APPROVE: pb.GATEWAY_OUTCOME_APPROVE,
    Then.DECLINE: pb.GATEWAY_OUTCOME_DECLINE,
    Then.DELAY: pb.GATEWAY_OUTCOME_DELAY,
    Then.FAIL: pb.GATEWAY_OUTCOME_FAIL,
    Then.TIME_OUT: pb.GATEWAY_OUTCOME_TIME_OUT,
}
_THENS = {outcome: then for then, outcome in _OUTCOMES.items()}
_LONGEST_DELAY_SECONDS = 3600.0


def payment(view: PaymentView) -> pb.Payment:
    """Return a payment as the contract shows it."""
    updated_at = Timestamp()
    updated_at.FromDatetime(view.updated_at)
    return pb.Payment(
        order_id=view.order_id,
        customer_id=view.customer_id,
        amount=Money(currency=view.currency, minor_units=view.amount_minor),
        status=STATUSES[view.status],
        charged=Money(currency=view.currency, minor_units=view.charged_minor),
        refunded=Money(currency=view.currency, minor_units=view.refunded_minor),
        reason=view.reason,
        updated_at=updated_at,
    )


def status(violations: Violations, field: str, value: pb.PaymentStatus.ValueType) -> Status | None:
    """Return the status a list is limited to, None for all."""
    if value == pb.PAYMENT_STATUS_UNSPECIFIED:
        return None
    found = next((own for own, theirs in STATUSES.items() if theirs == value), None)
    violations.check(field, found is not None, "must be a known status")
    return found


def rules(violations: Violations, wanted: Sequence[pb.GatewayRule]) -> list[Rule]:
    """Return the rules of a request, noting what is wrong with them."""
    return [_rule(violations, f"rules[{number}]", each) for number, each in enumerate(wanted)]


def gateway_rule(rule: Rule) -> pb.GatewayRule:
    """Return a rule as the contract shows it."""
    delay = Duration()
    delay.FromNanoseconds(int(rule.delay_seconds * 1e9))
    return pb.GatewayRule(
        customer_id=rule.customer_id,
        amount_minor_at_least=rule.amount_minor_at_least,
        outcome=_OUTCOMES[rule.then],
        reason=rule.reason,
        delay=delay if rule.delay_seconds else None,
    )


def _rule(violations: Violations, at: str, wanted: pb.GatewayRule) -> Rule:
    if wanted.customer_id:
        violations.uuid(f"{at}.customer_id", wanted.customer_id)
    violations.stock(f"{at}.amount_minor_at_least", wanted.amount_minor_at_least)
    violations.check(f"{at}.outcome", wanted.outcome in _THENS, "must be a known outcome")
    violations.text(f"{at}.reason", wanted.reason, required=False)
    seconds = wanted.delay.seconds + wanted.delay.nanos / 1e9
    violations.check(f"{at}.delay", 0 <= seconds <= _LONGEST_DELAY_SECONDS, "must be from 0 to an hour")
    return Rule(
        _THENS.get(wanted.outcome, Then.APPROVE),
        customer_id=wanted.customer_id,
        amount_minor_at_least=wanted.amount_minor_at_least,
        reason=wanted.reason,
        delay_seconds=seconds,
    )
