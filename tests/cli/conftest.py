"""The six services on one real gRPC server, answering from plain tables; every command runs against it as a user would."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from millrace.cli.app import load_app
from millrace.edge.status import status_of
from shop.analytics.v1 import analytics_service_pb2_grpc as analytics_grpc
from shop.inventory.v1 import inventory_service_pb2_grpc as inventory_grpc
from shop.notification.v1 import notification_service_pb2_grpc as notification_grpc
from shop.order.v1 import order_service_pb2_grpc as order_grpc
from shop.payment.v1 import payment_service_pb2_grpc as payment_grpc
from shop.shipping.v1 import shipping_service_pb2_grpc as shipping_grpc
from shopkit.clients import DEFAULT_ADDRESSES

SERVICERS: tuple[tuple[type, Callable[..., None]], ...] = (
    (order_grpc.OrderServiceServicer, order_grpc.add_OrderServiceServicer_to_server),
    (payment_grpc.PaymentServiceServicer, payment_grpc.add_PaymentServiceServicer_to_server),
    (inventory_grpc.InventoryServiceServicer, inventory_grpc.add_InventoryServiceServicer_to_server),
    (shipping_grpc.ShippingServiceServicer, shipping_grpc.add_ShippingServiceServicer_to_server),
    (notification_grpc.NotificationServiceServicer, notification_grpc.add_NotificationServiceServicer_to_server),
    (analytics_grpc.AnalyticsServiceServicer, analytics_grpc.add_AnalyticsServiceServicer_to_server),
)


@dataclass
class FakeShop:
    """Answers each method with what `answers` holds for it: a message, an error to raise, a function of the request, or a list."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.asked if name == method]

    def add_to(self, server: grpc.Server) -> None:
        for servicer, add in SERVICERS:
            methods = [name for name in vars(servicer) if name[0].isupper()]
            fake = type("Fake", (servicer,), {name: self._method(name, streams=name == "WatchOrder") for name in methods})
            add(fake(), server)

    def _method(self, name: str, *, streams: bool) -> Callable[..., Any]:
        def answer(_self: object, request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append((name, request))
            known = self.answers[name]
            if callable(known):
                known = known(request)
            if isinstance(known, Exception):
                _abort(known, context)
            return known

        def answers(_self: object, request: Any, context: grpc.ServicerContext) -> Any:
            for each in answer(_self, request, context):
                if isinstance(each, Exception):
                    _abort(each, context)
                yield each

        return answers if streams else answer


def _abort(error: Exception, context: grpc.ServicerContext) -> None:
    status = status_of(error)
    context.set_trailing_metadata(status.trailers)
    context.abort(status.code, status.text)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeShop]:
    fake = FakeShop()
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        fake.add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        for service in DEFAULT_ADDRESSES:
            monkeypatch.setenv(f"MILLRACE_{service.upper()}_ADDRESS", f"127.0.0.1:{port}")
        server.start()
        try:
            yield fake
        finally:
            server.stop(0).wait()


@pytest.fixture
def millrace() -> Callable[..., Result]:
    """Run the command with these words."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(load_app(), list(words), prog_name="millrace")

    return run


@pytest.fixture
def millrace_json(millrace: Callable[..., Result]) -> Callable[..., Any]:
    """Run the command with these words and `--json`, expect success, and return what it printed."""

    def run(*words: str) -> Any:
        result = millrace(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run
