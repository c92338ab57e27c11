"""A saga of one's own: goods are set aside, and the customer has an hour to pay for them; otherwise they are given back.

It borrows the shop's messages; yours come from your own .proto files. `tests/examples/test_layaway_saga.py` lets the hour pass in
milliseconds (docs/testing.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Context, Decision, Handlers, Publish, TimerFired
from millrace.saga import SagaDefinition, SagaProcess, SagaState, Step, Turn, saga_stream
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment

LAYAWAYS = saga_stream("layaway")
SAGA: SagaDefinition[str] = SagaDefinition(
    "layaway",
    (
        Step(
            "goods",
            command=lambda order_id: inventory.ReserveStockCommand(order_id=order_id),
            succeeded_by=(inventory.StockReservedEvent,),
            failed_by=(inventory.StockShortEvent,),
            compensation=lambda order_id, _: inventory.ReleaseStockCommand(order_id=order_id),
            compensated_by=(inventory.StockReleasedEvent,),
            answer_within=timedelta(seconds=10),
            attempts=3,
        ),
        Step(
            "payment",
            command=lambda order_id: payment.ChargePaymentCommand(order_id=order_id),
            succeeded_by=(payment.PaymentChargedEvent,),
            failed_by=(payment.PaymentDeclinedEvent,),
            compensation=lambda order_id, why: payment.RefundPaymentCommand(order_id=order_id, reason=why),
            compensated_by=(payment.PaymentRefundedEvent,),
            answer_within=timedelta(hours=1),
            attempts=1,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Begin a layaway."""

    order_id: str


class SetAsideHandler:
    """Decides `SetAside`; its reply is the saga's state."""

    def streams(self, body: SetAside) -> Sequence[str]:
        return (LAYAWAYS.stream(body.order_id),)

    def decide(self, body: SetAside, states: Mapping[str, Any], context: Context) -> Decision:
        return decision(body.order_id, process(body.order_id, states, context).start())


class ReplyHandler:
    """Decides every answer to a step."""

    def streams(self, body: Any) -> Sequence[str]:
        return (LAYAWAYS.stream(body.order_id),)

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        return decision(body.order_id, process(body.order_id, states, context).reply(body))


class DeadlineHandler:
    """Decides a deadline that passed."""

    def streams(self, body: TimerFired) -> Sequence[str]:
        return (LAYAWAYS.stream(body.key),)

    def decide(self, body: TimerFired, states: Mapping[str, Any], context: Context) -> Decision:
        return decision(body.key, process(body.key, states, context).timer(body))


def process(order_id: str, states: Mapping[str, SagaState], context: Context) -> SagaProcess[str]:
    """Return the saga of an order as it stands."""
    return SagaProcess(SAGA, order_id, states[LAYAWAYS.stream(order_id)], order_id, context.now)


def decision(order_id: str, turn: Turn) -> Decision:
    """Return what a turn of the saga leads to: its events, and each request with its deadline."""
    return Decision(
        events=[(LAYAWAYS.stream(order_id), event) for event in turn.events],
        publish=[Publish(request.body, deadline=request.deadline) for request in turn.requests if request.body is not None],
        cancel_timers=turn.cancel_timers,
        reply=turn.state,
    )


HANDLERS = Handlers(
    (LAYAWAYS,),
    {
        SetAside: SetAsideHandler(),
        TimerFired: DeadlineHandler(),
        **dict.fromkeys(SAGA.replies(), ReplyHandler()),
    },
)
REGISTRY = TypeRegistry.from_modules(inventory, payment)
REPLY_TOPICS = ("inventory.result", "payment.result")
