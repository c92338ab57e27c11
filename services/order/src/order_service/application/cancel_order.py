"""Cancels an order at the customer's wish, as long as it is not confirmed."""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.decision import Context, Decision
from millrace.errors import NotFound, Refused
from millrace.saga import SagaDefinition
from order_service.application.process import OrderProcess, order_lock_streams, order_streams
from order_service.application.saga import SagaData
from order_service.domain.commands import CancelOrder
from order_service.domain.order import OrderStatus


class CancelOrderHandler:
    """Decides `CancelOrder`; its reply is the `Order`."""

    def __init__(self, saga: SagaDefinition[SagaData]) -> None:
        self._saga = saga

    def streams(self, body: CancelOrder) -> Sequence[str]:
        """See `Handler`."""
        return order_streams(body.order_id)

    def more_streams(self, body: CancelOrder, states: Mapping[str, Any]) -> Sequence[str]:
        """See `LookingHandler`."""
        return order_lock_streams(self._saga, body.order_id, states)

    def decide(self, body: CancelOrder, states: Mapping[str, Any], context: Context) -> Decision:
        """Turn the saga back. Cancelling again is no fault; an order already confirmed raises Refused."""
        process = OrderProcess(self._saga, body.order_id, states, context.now)
        match process.order.status:
            case OrderStatus.NEW:
                raise NotFound(f"there is no order {body.order_id}")
            case OrderStatus.CANCELLING | OrderStatus.CANCELLED:
                return Decision(reply=process.order)
            case OrderStatus.CONFIRMED | OrderStatus.COMPLETED:
                raise Refused(f"the order is {process.order.status.value}: too late to cancel")
        return process.decision(process.process().abort(body.reason))
