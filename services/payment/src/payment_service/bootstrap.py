"""Puts the payment service together."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry

from millrace.clock import utc_now
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handlers
from millrace.edge.server import RpcService
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from millrace.store.open import open_store
from payment_service.adapters.payments import PaymentsProjection, PaymentTable
from payment_service.adapters.simulated_gateway import SimulatedGateway
from payment_service.application.call_gateway import CallGateway
from payment_service.application.charge_payment import ChargePayment
from payment_service.application.refund_payment import RefundPayment
from payment_service.application.settle_charge import SettleCharge, SettleDecline
from payment_service.application.settle_refund import SettleRefund
from payment_service.config import Config
from payment_service.domain.card import CardCharged, CardDeclined, CardRefunded, ChargeCard, RefundCard
from payment_service.domain.payment import PAYMENTS
from payment_service.edge.servicer import PaymentServicer
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand, RefundPaymentCommand
from shop.payment.v1.payment_service_pb2_grpc import add_PaymentServiceServicer_to_server
from shopkit.ledger import Ledger
from shopkit.rules import RuleBook
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

SERVICE = "shop.payment.v1.PaymentService"
MIGRATIONS = Path(__file__).parent / "migrations"

_STREAM_TYPES = (PAYMENTS,)
_READ_MODELS = (PaymentsProjection(),)


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes the read models anew with."""
    return Rebuildable(group_of("payment").id, Handlers(_STREAM_TYPES), _READ_MODELS)


def parts(config: Config, *, metrics: CollectorRegistry = REGISTRY, calls: CallGateway | None = None) -> Parts:
    """Return what is payment's own; `metrics` gets the figures of its calls to the outside.

    `calls` makes them to another gateway than the simulated one.
    """
    rules = RuleBook(config.gateway_rules)
    at_end: Sequence[Callable[[], None]] = ()
    if calls is None:
        ledger = Ledger(open_store(config.common.store.url.reveal(), "payment gateway"), utc_now)
        gateway = SimulatedGateway(ledger, rules, delay_seconds=config.gateway_delay_seconds)
        calls = CallGateway(gateway, *_callers(config, metrics), utc_now)
        at_end = (ledger.close,)

    def rpc(commands: Commands, queries: Queries) -> Sequence[RpcService]:
        servicer = PaymentServicer(PaymentTable(queries), rules if config.development else None)
        return (RpcService(SERVICE, partial(add_PaymentServiceServicer_to_server, servicer)),)

    return Parts(
        name="payment",
        stream_types=_STREAM_TYPES,
        handlers={
            ChargePaymentCommand: ChargePayment(timedelta(seconds=config.gateway_give_up_seconds)),
            RefundPaymentCommand: RefundPayment(),
            CardCharged: SettleCharge(),
            CardDeclined: SettleDecline(),
            CardRefunded: SettleRefund(),
        },
        registry=TypeRegistry((ChargePaymentCommand, RefundPaymentCommand)),
        rpc=rpc,
        projections=_READ_MODELS,
        reactors={ChargeCard: calls.charge, RefundCard: calls.refund},
        migrations=MIGRATIONS,
        at_end=at_end,
    )


def _callers(config: Config, metrics: CollectorRegistry) -> tuple[ExternalCall, ExternalCall]:
    """Calls are asked about, not repeated, once their outcome is unknown; a breaker closes again soon, since orders wait."""
    attempt = config.gateway_timeout_seconds
    policy = CallPolicy(attempt_seconds=attempt, total_seconds=3 * attempt, breaker_failures=10, breaker_recovery_seconds=2.0)
    figures = ExternalMetrics(metrics)
    return ExternalCall("payment-gateway", policy, figures), ExternalCall("payment-gateway-aftercare", policy, figures)
