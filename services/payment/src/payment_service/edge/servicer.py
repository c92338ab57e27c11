"""Answers the calls of `shop.payment.v1.PaymentService`."""

from typing import Any

import grpc

from millrace.edge.validation import Violations, write_page_token
from millrace.errors import NotFound
from payment_service.application.ports import GatewayRules, PaymentReads
from payment_service.edge import wire
from shop.payment.v1 import payment_service_pb2 as pb
from shop.payment.v1.payment_service_pb2_grpc import PaymentServiceServicer


class PaymentServicer(PaymentServiceServicer):
    """Shows payments. `gateway_rules` is None where nobody may change the gateway, which is everywhere but in development."""

    def __init__(self, payments: PaymentReads, gateway_rules: GatewayRules | None) -> None:
        self._payments = payments
        self._gateway_rules = gateway_rules

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Any) -> pb.GetPaymentResponse:
        """Return one payment. Raises Invalid and NotFound."""
        violations = Violations()
        violations.uuid("order_id", request.order_id)
        violations.raise_if_any()
        found = await self._payments.get(request.order_id.lower())
        if found is None:
            raise NotFound(f"there is no payment for order {request.order_id}")
        return pb.GetPaymentResponse(payment=wire.payment(found))

    async def ListPayments(self, request: pb.ListPaymentsRequest, context: Any) -> pb.ListPaymentsResponse:
        """Return one page. Raises Invalid."""
        violations = Violations()
        status = wire.status(violations, "status", request.status)
        size = violations.page_size("page_size", request.page_size)
        after = violations.page_token("page_token", request.page_token)
        violations.raise_if_any()
        found = await self._payments.page(status=status, after=after or "", size=size + 1)
        token = write_page_token(found[size - 1].order_id) if len(found) > size else ""
        return pb.ListPaymentsResponse(payments=[wire.payment(each) for each in found[:size]], next_page_token=token)

    async def SetGatewayRules(self, request: pb.SetGatewayRulesRequest, context: Any) -> pb.SetGatewayRulesResponse:
        """Replace the simulated gateway's rules, in this process. PERMISSION_DENIED outside development. Raises Invalid."""
        if self._gateway_rules is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the gateway's rules can be set in development only")
            raise AssertionError("abort always raises")
        violations = Violations()
        rules = wire.rules(violations, request.rules)
        violations.raise_if_any()
        self._gateway_rules.replace(rules)
        return pb.SetGatewayRulesResponse(rules=[wire.gateway_rule(rule) for rule in self._gateway_rules.rules])
