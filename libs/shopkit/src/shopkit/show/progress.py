"""Turns the updates of one watched order into what happened since the update before. Pure: the CLI and the demo print it."""

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import Order, SagaStep, SagaStepState, WatchOrderResponse
from shopkit.show.words import enum_word

_FINAL = (OrderStatus.ORDER_STATUS_COMPLETED, OrderStatus.ORDER_STATUS_CANCELLED)
_UNASKED = (SagaStepState.SAGA_STEP_STATE_WAITING, SagaStepState.SAGA_STEP_STATE_SKIPPED)


@dataclass(frozen=True, slots=True)
class Happening:
    """One change: `after_seconds` since the order was placed, of a step or (`step` is empty) of the order itself."""

    after_seconds: float
    step: str
    state: str
    detail: str = ""


def is_final(order: Order) -> bool:
    """Tell whether nothing will change the order any more."""
    return order.status in _FINAL


class OrderProgress:
    """Remembers what of one order was already told."""

    def __init__(self) -> None:
        self._steps: dict[str, SagaStep] = {}
        self._status = OrderStatus.ORDER_STATUS_UNSPECIFIED

    def update(self, update: WatchOrderResponse) -> list[Happening]:
        """Return what changed since the last update, in the order of time; an update that is told again gives nothing."""
        placed = update.order.created_at
        found: list[Happening] = []
        for step in update.saga.steps:
            found += self._step(step, placed, update.order.updated_at)
            self._steps[step.name] = step
        found.sort(key=lambda each: each.after_seconds)
        if update.order.status != self._status:
            self._status = update.order.status
            word = enum_word(OrderStatus, update.order.status)
            late = "delayed" if update.order.delayed else ""
            found.append(Happening(_since(placed, update.order.updated_at), "", word, update.order.reason or late))
        return found

    def _step(self, step: SagaStep, placed: Timestamp, updated: Timestamp) -> list[Happening]:
        before = self._steps.get(step.name)
        known = SagaStepState.SAGA_STEP_STATE_WAITING if before is None else before.state
        found: list[Happening] = []
        if step.attempts > (0 if before is None else before.attempts):
            again = step.attempts > 1
            moment = updated if again else step.requested_at
            found.append(Happening(_since(placed, moment), step.name, "requested", f"attempt {step.attempts}" if again else ""))
        if step.state == known or step.state in (*_UNASKED, SagaStepState.SAGA_STEP_STATE_REQUESTED):
            return found
        undoing = step.state == SagaStepState.SAGA_STEP_STATE_COMPENSATING
        moment = updated if undoing or not step.HasField("finished_at") else step.finished_at
        found.append(Happening(_since(placed, moment), step.name, enum_word(SagaStepState, step.state), step.detail))
        return found


def _since(placed: Timestamp, moment: Timestamp) -> float:
    return max(0.0, (moment.ToNanoseconds() - placed.ToNanoseconds()) / 1e9)
