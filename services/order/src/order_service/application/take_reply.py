"""Takes what payment, inventory and shipping answered, and deadlines that passed, into the saga."""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.decision import Context, Decision, TimerFired
from millrace.errors import PermanentError
from millrace.saga import SagaDefinition, SagaStatus
from order_service.application.check_reply import check_reply
from order_service.application.process import OrderProcess, order_lock_streams, order_streams
from order_service.application.saga import SagaData
from shop.inventory.v1.inventory_messages_pb2 import StockShortEvent
from shop.payment.v1.payment_messages_pb2 import PaymentDeclinedEvent
from shop.shipping.v1.shipping_messages_pb2 import ShippingDelayedEvent, ShippingDeliveredEvent, ShippingFailedEvent


class ReplyHandler:
    """Decides every message that may answer a step. One for an order nobody knows, or that cannot be true of it, is permanently wrong.

    Such a message blocks its order until a person has looked at it: what its sender says next of this order is not to be trusted either.
    """

    def __init__(self, saga: SagaDefinition[SagaData]) -> None:
        self._saga = saga

    def streams(self, body: Any) -> Sequence[str]:
        """See `Handler`."""
        return order_streams(body.order_id)

    def more_streams(self, body: Any, states: Mapping[str, Any]) -> Sequence[str]:
        """See `LookingHandler`."""
        return order_lock_streams(self._saga, body.order_id, states)

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        """Give the saga its answer; an answer no longer waited for changes nothing. Raises PermanentError for an impossible one."""
        process = OrderProcess(self._saga, body.order_id, states, context.now)
        if process.saga.status is SagaStatus.NEW:
            raise PermanentError(f"there is no order {body.order_id!r}")
        check_reply(body, process.order)
        if isinstance(body, ShippingDeliveredEvent):
            return Decision()
        turn = process.process().reply(body, _reason(body))
        return process.decision(turn, delayed=isinstance(body, ShippingDelayedEvent))


class DeadlineHandler:
    """Decides the saga's timers."""

    def __init__(self, saga: SagaDefinition[SagaData]) -> None:
        self._saga = saga

    def streams(self, body: TimerFired) -> Sequence[str]:
        """See `Handler`."""
        return order_streams(body.key)

    def more_streams(self, body: TimerFired, states: Mapping[str, Any]) -> Sequence[str]:
        """See `LookingHandler`."""
        return order_lock_streams(self._saga, body.key, states)

    def decide(self, body: TimerFired, states: Mapping[str, Any], context: Context) -> Decision:
        """Tell the saga that a deadline passed; a stale one changes nothing."""
        process = OrderProcess(self._saga, body.key, states, context.now)
        return process.decision(process.process().timer(body))


def _reason(body: Any) -> str:
    if isinstance(body, PaymentDeclinedEvent):
        return f"payment declined: {body.reason}"
    if isinstance(body, StockShortEvent):
        return "stock short: " + ", ".join(f"{s.item_id} ({s.requested} wanted, {s.available} there)" for s in body.short)
    if isinstance(body, ShippingFailedEvent):
        return f"shipping failed: {body.reason}"
    return ""
