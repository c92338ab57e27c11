"""A running shop for the tests of this folder: one a module where the tests only use it, one a test where they break it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from devkit.services import SERVICES
from devkit.shops import pytest_runtest_makereport  # noqa: F401 - a hook for the tests of this folder
from devkit.stack import Stack
from shopkit.testing.connection import ShopConnection
from shopkit.testing.driver import wait_ready
from shopkit.testing.outcomes import SLOW_GATEWAY

# Deliveries come soon, and a killed consumer is missed soon. The saga does not ask again within a test, so that no message that was
# lost is made good by it unseen. Everything else is as it is in production.
QUICK: Mapping[str, Mapping[str, str]] = {
    "*": {"MILLRACE_KAFKA_SESSION_TIMEOUT_SECONDS": "3"},
    "order": {"ORDER_SAGA_ANSWER_SECONDS": "600"},
    "payment": {"PAYMENT_GATEWAY_RULES": SLOW_GATEWAY},
    "shipping": {"SHIPPING_DELIVERY_SECONDS": "0.2", "SHIPPING_DELAYED_DELIVERY_SECONDS": "0.4"},
}


@pytest.fixture(scope="session")
def quick_settings() -> Mapping[str, Mapping[str, str]]:
    """Give the environment of the shops in these tests, by service."""
    return QUICK


@pytest.fixture(scope="session")
def connect() -> Iterator[Callable[[Stack], ShopConnection]]:
    """Give what connects to a shop and waits until orders can be placed; closed at the end."""
    with ExitStack() as open_ones:

        def to(stack: Stack) -> ShopConnection:
            shop = open_ones.enter_context(ShopConnection({name: stack.addresses(name) for name in SERVICES}))
            wait_ready(shop)
            return shop

        yield to
