"""What callers of the payment service get, over a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from millrace.edge.client import ChannelConfig, open_channel, status_violations
from millrace.edge.server import EdgeConfig, EdgeServer
from millrace.edge.standard import standard_middleware
from millrace.observability.health import Health
from millrace.pipeline.queries import Queries
from payment_service.bootstrap import parts
from payment_service.config import Config
from payment_service.domain.card import CardCharged
from shop.payment.v1 import payment_service_pb2 as pb
from shop.payment.v1.payment_messages_pb2 import ChargePaymentCommand, RefundPaymentCommand
from shop.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.testing.decider import Decider

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"


def order(number: int) -> str:
    return f"6f3f0d52-4c7e-4f8e-9d53-{number:012d}"


@asynccontextmanager
async def _serving(config: Config, prepare: Callable[[Decider], None]) -> AsyncIterator[Any]:
    own = parts(config, metrics=CollectorRegistry())
    decider = Decider(own)
    prepare(decider)
    queries = Queries(decider.store)
    commands: Any = None
    middleware = standard_middleware(TracerProvider(), CollectorRegistry())
    server = EdgeServer(EdgeConfig(address="127.0.0.1:0"), Health(), own.rpc(commands, queries), middleware)
    async with open_channel(f"127.0.0.1:{await server.start()}", ChannelConfig()) as channel:
        yield PaymentServiceStub(channel)
    await server.drain()
    queries.close()


def _ask(config: Config, ask: Callable[[Any], Any], prepare: Callable[[Decider], None] = lambda _: None) -> Any:
    async def scenario() -> Any:
        async with _serving(config, prepare) as stub:
            return await ask(stub)

    return asyncio.run(scenario())


def _three_payments(decider: Decider) -> None:
    for number in (1, 2):
        amount = Money(currency="EUR", minor_units=100 * number)
        decider.tell(ChargePaymentCommand(order_id=order(number), customer_id=CUSTOMER, amount=amount))
    decider.answer(f"charge-{order(1)}", CardCharged(order(1), "ch_1"))
    decider.tell(RefundPaymentCommand(order_id=order(3), reason="too late"))


def test_a_payment_is_shown_with_what_was_charged(config: Callable[..., Config]) -> None:
    found = _ask(config(), lambda stub: stub.GetPayment(pb.GetPaymentRequest(order_id=order(1).upper())), _three_payments).payment
    assert (found.order_id, found.customer_id, found.status) == (order(1), CUSTOMER, pb.PAYMENT_STATUS_CHARGED)
    assert found.amount == found.charged == Money(currency="EUR", minor_units=100)
    assert found.refunded == Money(currency="EUR", minor_units=0)
    assert found.updated_at.ToSeconds() > 0


def test_payments_are_listed_page_by_page(config: Callable[..., Config]) -> None:
    async def pages(stub: Any) -> list[list[str]]:
        seen: list[list[str]] = []
        token = ""
        while True:
            page = await stub.ListPayments(pb.ListPaymentsRequest(page_size=2, page_token=token))
            seen.append([each.order_id for each in page.payments])
            token = page.next_page_token
            if not token:
                return seen

    assert _ask(config(), pages, _three_payments) == [[order(1), order(2)], [order(3)]]


def test_a_list_can_be_limited_to_one_status(config: Callable[..., Config]) -> None:
    request = pb.ListPaymentsRequest(status=pb.PAYMENT_STATUS_VOIDED)
    found = _ask(config(), lambda stub: stub.ListPayments(request), _three_payments)
    assert [(each.order_id, each.reason) for each in found.payments] == [(order(3), "too late")]


@pytest.mark.parametrize(
    ("call", "request_", "code", "fields"),
    [
        ("GetPayment", pb.GetPaymentRequest(order_id="1"), grpc.StatusCode.INVALID_ARGUMENT, ["order_id"]),
        ("GetPayment", pb.GetPaymentRequest(order_id=order(9)), grpc.StatusCode.NOT_FOUND, []),
        (
            "ListPayments",
            pb.ListPaymentsRequest(page_size=-1, page_token="?", status=99),  # type: ignore[arg-type]
            grpc.StatusCode.INVALID_ARGUMENT,
            ["status", "page_size", "page_token"],
        ),
        (
            "SetGatewayRules",
            pb.SetGatewayRulesRequest(
                rules=[pb.GatewayRule(customer_id="x", amount_minor_at_least=-1, reason="\0", delay=Duration(seconds=-1))]
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
            [f"rules[0].{name}" for name in ("customer_id", "amount_minor_at_least", "outcome", "reason", "delay")],
        ),
    ],
)
def test_bad_requests_are_refused_field_by_field(
    config: Callable[..., Config], call: str, request_: Any, code: grpc.StatusCode, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        _ask(config(MILLRACE_DEVELOPMENT="true"), lambda stub: getattr(stub, call)(request_), _three_payments)
    assert refused.value.code() is code
    assert [violation.field for violation in status_violations(refused.value)] == fields


def test_the_gateways_rules_can_be_replaced_in_development(config: Callable[..., Config]) -> None:
    rule = pb.GatewayRule(customer_id=CUSTOMER, outcome=pb.GATEWAY_OUTCOME_DELAY, delay=Duration(nanos=500_000_000))
    answer = _ask(config(MILLRACE_DEVELOPMENT="true"), lambda stub: stub.SetGatewayRules(pb.SetGatewayRulesRequest(rules=[rule])))
    assert list(answer.rules) == [rule]


def test_nobody_else_may_replace_the_gateways_rules(config: Callable[..., Config]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        _ask(config(), lambda stub: stub.SetGatewayRules(pb.SetGatewayRulesRequest()))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
