"""What callers of the shipping service get, over a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from millrace.edge.client import ChannelConfig, open_channel, status_violations
from millrace.edge.server import EdgeConfig, EdgeServer
from millrace.edge.standard import standard_middleware
from millrace.observability.health import Health
from millrace.pipeline.queries import Queries
from shipping_service.bootstrap import parts
from shipping_service.config import Config
from shipping_service.domain.booking import ParcelBooked
from shop.order.v1 import order_messages_pb2 as order_pb2
from shop.order.v1.order_messages_pb2 import OrderConfirmedEvent, OrderItem
from shop.shipping.v1 import shipping_service_pb2 as pb
from shop.shipping.v1.shipping_service_pb2_grpc import ShippingServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.testing.decider import Decider

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"


def order(number: int) -> str:
    return f"6f3f0d52-4c7e-4f8e-9d53-{number:012d}"


@asynccontextmanager
async def _serving(config: Config) -> AsyncIterator[Any]:
    own = parts(config, metrics=CollectorRegistry())
    decider = Decider(own)
    _three_shipments(decider)
    queries = Queries(decider.store)
    commands: Any = None
    middleware = standard_middleware(TracerProvider(), CollectorRegistry())
    server = EdgeServer(EdgeConfig(address="127.0.0.1:0"), Health(), own.rpc(commands, queries), middleware)
    async with open_channel(f"127.0.0.1:{await server.start()}", ChannelConfig()) as channel:
        yield ShippingServiceStub(channel)
    await server.drain()
    queries.close()


def _ask(config: Config, ask: Callable[[Any], Any]) -> Any:
    async def scenario() -> Any:
        async with _serving(config) as stub:
            return await ask(stub)

    return asyncio.run(scenario())


def _three_shipments(decider: Decider) -> None:
    price = Money(currency="EUR", minor_units=100)
    for number in (1, 2, 3):
        decider.tell(
            OrderConfirmedEvent(
                order_id=order(number),
                customer_id=CUSTOMER,
                items=[OrderItem(item_id="mug", name="Mug", quantity=1, price=price)],
                total_amount=price,
                status=order_pb2.ORDER_STATUS_CONFIRMED,
                confirmed_at=Timestamp(seconds=1_767_225_600),
                sequence=2,
            )
        )
    decider.answer(f"booking-{order(1)}", ParcelBooked(order(1), "MR1", late=True, reason="snow"))


def test_a_shipment_is_shown_with_its_tracking_number(config: Callable[..., Config]) -> None:
    found = _ask(config(), lambda stub: stub.GetShipment(pb.GetShipmentRequest(order_id=order(1)))).shipment
    assert (found.order_id, found.customer_id, found.status) == (order(1), CUSTOMER, pb.SHIPMENT_STATUS_DELAYED)
    assert (found.tracking_number, found.reason) == ("MR1", "snow")
    assert found.expected_delivery_at.ToSeconds() - found.updated_at.ToSeconds() == 4


def test_a_shipment_not_booked_yet_has_no_time_of_delivery(config: Callable[..., Config]) -> None:
    found = _ask(config(), lambda stub: stub.GetShipment(pb.GetShipmentRequest(order_id=order(2)))).shipment
    assert found.status == pb.SHIPMENT_STATUS_PENDING
    assert not found.HasField("expected_delivery_at")


def test_shipments_are_listed_page_by_page(config: Callable[..., Config]) -> None:
    async def pages(stub: Any) -> list[list[str]]:
        first = await stub.ListShipments(pb.ListShipmentsRequest(page_size=2))
        second = await stub.ListShipments(pb.ListShipmentsRequest(page_size=2, page_token=first.next_page_token))
        assert not second.next_page_token
        return [[each.order_id for each in page.shipments] for page in (first, second)]

    assert _ask(config(), pages) == [[order(1), order(2)], [order(3)]]


def test_a_list_can_be_limited_to_one_status(config: Callable[..., Config]) -> None:
    request = pb.ListShipmentsRequest(status=pb.SHIPMENT_STATUS_PENDING)
    found = _ask(config(), lambda stub: stub.ListShipments(request))
    assert [each.order_id for each in found.shipments] == [order(2), order(3)]


@pytest.mark.parametrize(
    ("call", "request_", "code", "fields"),
    [
        ("GetShipment", pb.GetShipmentRequest(order_id="\0"), grpc.StatusCode.INVALID_ARGUMENT, ["order_id"]),
        ("GetShipment", pb.GetShipmentRequest(order_id=order(9)), grpc.StatusCode.NOT_FOUND, []),
        (
            "ListShipments",
            pb.ListShipmentsRequest(page_size=-1, page_token="?", status=99),  # type: ignore[arg-type]
            grpc.StatusCode.INVALID_ARGUMENT,
            ["status", "page_size", "page_token"],
        ),
    ],
)
def test_bad_requests_are_refused_field_by_field(
    config: Callable[..., Config], call: str, request_: Any, code: grpc.StatusCode, fields: list[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        _ask(config(), lambda stub: getattr(stub, call)(request_))
    assert refused.value.code() is code
    assert [violation.field for violation in status_violations(refused.value)] == fields
