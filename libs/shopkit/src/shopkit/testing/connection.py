"""Connections to the six services for tests: blocking calls, spread over instances, quick to find a service that came back.

It knows addresses only, not who started the services.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from shop.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from shop.shipping.v1.shipping_service_pb2_grpc import ShippingServiceStub

Row = TypeVar("Row")

_ATTEMPT_SECONDS: Final = 5.0
_PAGE: Final = 500
_PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
]


class ShopConnection:
    """One channel to each service, over all of its instances. Thread-safe. Leaving the context closes them."""

    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Connect to the services by name: each has one or more addresses, `127.0.0.1:port`."""
        self._channels = {
            service: grpc.insecure_channel(f"ipv4:{','.join(each)}", options=_OPTIONS) for service, each in addresses.items()
        }
        self.order = OrderServiceStub(self._channels["order"])
        self.payment = PaymentServiceStub(self._channels["payment"])
        self.inventory = InventoryServiceStub(self._channels["inventory"])
        self.shipping = ShippingServiceStub(self._channels["shipping"])
        self.notification = NotificationServiceStub(self._channels["notification"])
        self.analytics = AnalyticsServiceStub(self._channels["analytics"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            channel.close()


def patiently(call: Any, request: Any, *, within_seconds: float = 60.0) -> Any:
    """Return a call's answer, asking again while the service is away. For calls that may be repeated: PlaceOrder has its key.

    Raises the RpcError that the service means, and the last one if it is still away after `within_seconds`.
    """
    give_up_at = time.monotonic() + within_seconds
    while True:
        try:
            return call(request, timeout=_ATTEMPT_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if code_of(error) not in _PASSING or time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def all_pages(call: Any, request: Any, rows: Callable[[Any], Sequence[Row]]) -> list[Row]:
    """Return the rows of every page of a List call, asked patiently. The request is written to."""
    found: list[Row] = []
    request.page_size = _PAGE
    while True:
        answer = patiently(call, request)
        found += rows(answer)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


def found_or_none(call: Any, request: Any) -> Any:
    """Return a call's answer, or None where the service says NOT_FOUND."""
    try:
        return patiently(call, request)
    except grpc.RpcError as error:
        if code_of(error) is grpc.StatusCode.NOT_FOUND:
            return None
        raise


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status code a failed call ended with."""
    call: Any = error
    code: grpc.StatusCode = call.code()
    return code


def is_there(address: str, dependency: str = "") -> bool | None:
    """Tell what one instance's health says of itself or of a dependency ("kafka", "database"); None if it does not answer."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        try:
            answer = check(HealthCheckRequest(service=dependency), timeout=2, wait_for_ready=True)
        except grpc.RpcError:
            return None
        return bool(answer.status == HealthCheckResponse.SERVING)
