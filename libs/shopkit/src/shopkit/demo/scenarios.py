"""The orders that the demo places, and how each has to end. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration

from shop.notification.v1.notification_messages_pb2 import NotificationKind
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.payment.v1.payment_service_pb2 import GatewayOutcome, GatewayRule

DECLINED_CUSTOMER: Final = "00000000-0000-4000-8000-000000000402"
SLOW_CUSTOMER: Final = "00000000-0000-4000-8000-000000000408"

# The shop's own rule, and one that holds a payment back long enough for its order to be cancelled meanwhile.
GATEWAY_RULES: Final = (
    GatewayRule(customer_id=DECLINED_CUSTOMER, outcome=GatewayOutcome.GATEWAY_OUTCOME_DECLINE, reason="card declined"),
    GatewayRule(customer_id=SLOW_CUSTOMER, outcome=GatewayOutcome.GATEWAY_OUTCOME_DELAY, delay=Duration(seconds=1)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One order: what is ordered (pieces by item), and how it has to end. `cancels`: its customer cancels it at once."""

    title: str
    story: str
    customer_id: str
    items: Mapping[str, int]
    completes: bool
    delayed: bool = False
    cancels: bool = False

    @property
    def status(self) -> int:
        """Return the status the order has to end with."""
        return OrderStatus.ORDER_STATUS_COMPLETED if self.completes else OrderStatus.ORDER_STATUS_CANCELLED

    @property
    def last_notice(self) -> int:
        """Return the kind of notification its customer has to get in the end."""
        if self.completes:
            return NotificationKind.NOTIFICATION_KIND_SHIPPING_DELIVERED
        return NotificationKind.NOTIFICATION_KIND_ORDER_CANCELLED


SCENARIOS: Final = (
    Scenario(
        title="Happy path",
        story="two teapots and a mug: charged, reserved, shipped",
        customer_id="00000000-0000-4000-8000-000000000001",
        items={"teapot": 2, "mug": 1},
        completes=True,
    ),
    Scenario(
        title="Declined payment",
        story="the card is refused: nothing reserved, nothing charged",
        customer_id=DECLINED_CUSTOMER,
        items={"kettle": 1},
        completes=False,
    ),
    Scenario(
        title="Short stock",
        story="three rare vases where there are two: the payment is given back",
        customer_id="00000000-0000-4000-8000-000000000002",
        items={"rare-vase": 3},
        completes=False,
    ),
    Scenario(
        title="Delayed shipping",
        story="an anvil: completed, and the customer is told that it will be late",
        customer_id="00000000-0000-4000-8000-000000000003",
        items={"anvil": 1},
        completes=True,
        delayed=True,
    ),
    Scenario(
        title="Carrier refuses",
        story="a piano: the carrier takes none, so payment and stock are given back",
        customer_id="00000000-0000-4000-8000-000000000004",
        items={"piano": 1},
        completes=False,
    ),
    Scenario(
        title="Customer cancels",
        story="cancelled while the payment is on its way: undone as far as it got",
        customer_id=SLOW_CUSTOMER,
        items={"teapot": 1},
        completes=False,
        cancels=True,
    ),
)
