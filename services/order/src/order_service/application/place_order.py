"""Places an order and begins its saga."""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.decision import Context, Decision
from millrace.errors import AlreadyExists, Refused
from millrace.saga import SagaDefinition, SagaState
from order_service.application.process import OrderProcess, order_streams
from order_service.application.saga import SagaData, lock_streams
from order_service.domain.commands import PlaceOrder
from order_service.domain.order import Order, OrderCreated, OrderStatus


class PlaceOrderHandler:
    """Decides `PlaceOrder`; its reply is the `Order`."""

    def __init__(self, saga: SagaDefinition[SagaData]) -> None:
        self._saga = saga

    def streams(self, body: PlaceOrder) -> Sequence[str]:
        """See `Handler`."""
        locks = lock_streams(self._saga, Order(fingerprint=body.fingerprint), SagaState())
        return (*order_streams(body.order_id), *locks)

    def decide(self, body: PlaceOrder, states: Mapping[str, Any], context: Context) -> Decision:
        """Create the order once. Raises AlreadyExists where its key was used for something else.

        Raises Refused while another order has the customer and the goods to itself.
        """
        process = OrderProcess(self._saga, body.order_id, states, context.now)
        if process.order.status is not OrderStatus.NEW:
            if process.order.fingerprint != body.fingerprint:
                raise AlreadyExists("idempotency_key was used for another order")
            return Decision(reply=process.order)
        process.record(OrderCreated(body.order_id, body.customer_id, body.items, body.total, body.fingerprint, context.now))
        saga = process.process()
        if (other := saga.kept_out()) is not None:
            raise Refused(f"the same was ordered a moment ago: order {other.lock.holder} is not through yet")
        return process.decision(saga.start())
