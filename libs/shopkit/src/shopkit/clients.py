"""Calls to the six services, for the CLI and the demo. Services do not use this: they meet over Kafka only.

Which calls may be repeated is read from the contract: those with an `idempotency_level`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from google.protobuf.descriptor import FileDescriptor

from millrace.cli.failures import CommandFailed, explain
from millrace.edge.client import ChannelConfig, open_channel
from shop.analytics.v1 import analytics_service_pb2
from shop.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from shop.inventory.v1 import inventory_service_pb2
from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from shop.notification.v1 import notification_service_pb2
from shop.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from shop.order.v1 import order_service_pb2
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.payment.v1 import payment_service_pb2
from shop.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from shop.shipping.v1 import shipping_service_pb2
from shop.shipping.v1.shipping_service_pb2_grpc import ShippingServiceStub

if TYPE_CHECKING:
    from shop.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceAsyncStub
    from shop.inventory.v1.inventory_service_pb2_grpc import InventoryServiceAsyncStub
    from shop.notification.v1.notification_service_pb2_grpc import NotificationServiceAsyncStub
    from shop.order.v1.order_service_pb2_grpc import OrderServiceAsyncStub
    from shop.payment.v1.payment_service_pb2_grpc import PaymentServiceAsyncStub
    from shop.shipping.v1.shipping_service_pb2_grpc import ShippingServiceAsyncStub

Stub = TypeVar("Stub")
Answer = TypeVar("Answer")

DEFAULT_ADDRESSES: Final[Mapping[str, str]] = {
    "order": "127.0.0.1:50051",
    "payment": "127.0.0.1:50052",
    "inventory": "127.0.0.1:50053",
    "shipping": "127.0.0.1:50054",
    "notification": "127.0.0.1:50055",
    "analytics": "127.0.0.1:50056",
}
_FILES: Final[Mapping[str, FileDescriptor]] = {
    "order": order_service_pb2.DESCRIPTOR,
    "payment": payment_service_pb2.DESCRIPTOR,
    "inventory": inventory_service_pb2.DESCRIPTOR,
    "shipping": shipping_service_pb2.DESCRIPTOR,
    "notification": notification_service_pb2.DESCRIPTOR,
    "analytics": analytics_service_pb2.DESCRIPTOR,
}
_PAGE = 500


def read_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return where each service is: `MILLRACE_ORDER_ADDRESS` and its siblings, else the documented port of this machine."""
    return {name: environment.get(f"MILLRACE_{name.upper()}_ADDRESS") or default for name, default in DEFAULT_ADDRESSES.items()}


class Shop:
    """The six services by name. Each method opens a channel for the time of an `async with`, and gives the service's stub.

    What goes wrong inside is raised as CommandFailed, with one line that names the service and its address.
    """

    def __init__(self, addresses: Mapping[str, str], *, hint: str = "`make up` starts the shop") -> None:
        self._addresses = addresses
        self._hint = hint

    def order(self) -> "AbstractAsyncContextManager[OrderServiceAsyncStub]":
        """Open the order service."""
        return self._open("order", OrderServiceStub)

    def payment(self) -> "AbstractAsyncContextManager[PaymentServiceAsyncStub]":
        """Open the payment service."""
        return self._open("payment", PaymentServiceStub)

    def inventory(self) -> "AbstractAsyncContextManager[InventoryServiceAsyncStub]":
        """Open the inventory service."""
        return self._open("inventory", InventoryServiceStub)

    def shipping(self) -> "AbstractAsyncContextManager[ShippingServiceAsyncStub]":
        """Open the shipping service."""
        return self._open("shipping", ShippingServiceStub)

    def notification(self) -> "AbstractAsyncContextManager[NotificationServiceAsyncStub]":
        """Open the notification service."""
        return self._open("notification", NotificationServiceStub)

    def analytics(self) -> "AbstractAsyncContextManager[AnalyticsServiceAsyncStub]":
        """Open the analytics service."""
        return self._open("analytics", AnalyticsServiceStub)

    @asynccontextmanager
    async def _open(self, service: str, stub: Callable[[grpc.aio.Channel], Stub]) -> AsyncIterator[Stub]:
        address = self._addresses[service]
        async with open_channel(address, ChannelConfig(idempotent_methods=repeatable_methods(_FILES[service]))) as channel:
            try:
                yield stub(channel)
            except grpc.aio.AioRpcError as error:
                raise CommandFailed(explain(error, service=service, address=address, hint=self._hint)) from error


def repeatable_methods(file: FileDescriptor) -> tuple[str, ...]:
    """Return "package.Service/Method" of every call the contract says may be sent twice."""
    return tuple(
        f"{service.full_name}/{method.name}"
        for service in file.services_by_name.values()
        for method in service.methods
        if method.GetOptions().idempotency_level
    )


async def read_pages(
    call: Callable[[Any], Awaitable[Answer]], request: Any, rows: Callable[[Answer], Any], *, limit: int | None = None
) -> list[Any]:
    """Return the rows of all pages of a List call, or the first `limit` of them. The request is written to."""
    found: list[Any] = []
    while limit is None or len(found) < limit:
        request.page_size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        answer: Any = await call(request)
        found += rows(answer)
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    return found if limit is None else found[:limit]
