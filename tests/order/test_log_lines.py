"""One order, from its call to an answer nobody can take: every line about it carries its trace, its correlation and its id."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as Protobuf

from millrace.testing.log_lines import log_lines
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.payment.v1.payment_messages_pb2 import PaymentChargedEvent
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-00"), ("x-correlation-id", "call-1"))
EUR = "EUR"


async def _call(bench: Bench, name: str, request: Any) -> Any:
    async with bench.edge() as channel:
        return await getattr(OrderServiceStub(channel), name)(request, metadata=CALLER)


def test_every_line_about_an_order_names_it(bench: Bench, items: Mapping[str, Protobuf]) -> None:
    bench.hear(*items.values())
    line = wire.OrderLine(item_id="mug", quantity=2, price=Money(currency=EUR, minor_units=899))
    customer = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
    wanted = wire.PlaceOrderRequest(customer_id=customer, idempotency_key="key", items=[line])
    with log_lines() as lines:
        order = asyncio.run(_call(bench, "PlaceOrder", wanted)).order
        (request,) = [sent for sent in bench.sent() if sent.topic == "payment.request"]
        answer = bench.record(PaymentChargedEvent(order_id=order.order_id, amount=Money(currency=EUR, minor_units=1)))
        origin = {name: request.headers[name] for name in ("traceparent", "ce_correlationid")}
        headers = [(name, value) for name, value in answer.headers if name not in origin]
        bench.deliver(replace(answer, headers=(*headers, *((name, value.encode()) for name, value in origin.items()))))
        with pytest.raises(grpc.aio.AioRpcError):
            asyncio.run(_call(bench, "CancelOrder", wire.CancelOrderRequest(order_id=order.order_id, reason="x" * 100_000)))
    assert [line["message"] for line in lines.all()] == ["call ended", "message is dead", "call ended"]
    assert {line["trace"]["id"] for line in lines.all()} == {TRACE}
    assert {line["labels"]["correlation_id"] for line in lines.all()} == {"call-1"}
    assert {line["labels"].get("order_id") for line in lines.all()} == {order.order_id}
    assert lines.saying("message is dead")[0]["labels"]["message_key"] == order.order_id
