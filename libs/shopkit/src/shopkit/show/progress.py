"""Turns the updates of one watched order into what happened since the update before. Pure: the CLI and the demo print it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from google.protobuf.timestamp_pb2 import Timestamp

from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import Order, SagaStep, SagaStepState, WatchOrderResponse
from shopkit.show.words import enum_word

_FINAL = (OrderStatus.ORDER_STATUS_COMPLETED, OrderStatus.ORDER_STATUS_CANCELLED)
_QUIET = (
    SagaStepState.SAGA_STEP_STATE_WAITING,
    SagaStepState.SAGA_STEP_STATE_SKIPPED,
    SagaStepState.SAGA_STEP_STATE_REQUESTED,
)
_UNDOING = (SagaStepState.SAGA_STEP_STATE_COMPENSATING, SagaStepState.SAGA_STEP_STATE_COMPENSATED)


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
        placed, updated = update.order.created_at, update.order.updated_at
        found: list[Happening] = []
        for step, following in zip_longest(update.saga.steps, update.saga.steps[1:], fillvalue=SagaStep()):
            before = self._steps.get(step.name, SagaStep(state=SagaStepState.SAGA_STEP_STATE_WAITING))
            found += _changes(before, step, following, placed, updated)
            self._steps[step.name] = step
        if update.order.status != self._status:
            self._status = update.order.status
            pending = update.order.status == OrderStatus.ORDER_STATUS_PENDING
            moment = placed if pending else updated
            late = "delayed" if update.order.delayed else ""
            word = enum_word(OrderStatus, update.order.status)
            found.insert(0 if pending else len(found), Happening(_since(placed, moment), "", word, update.order.reason or late))
        return sorted(found, key=_moment)


def _moment(happening: Happening) -> tuple[float, int]:
    """Order by time, and at one time causes before effects: answers and requests, then undoing, then the order itself."""
    if not happening.step and happening.state != "pending":
        return happening.after_seconds, 2
    return happening.after_seconds, int(happening.state == "compensating")


def _changes(before: SagaStep, step: SagaStep, following: SagaStep, placed: Timestamp, updated: Timestamp) -> Iterator[Happening]:
    if step.attempts > before.attempts:
        again = step.attempts > 1
        moment = updated if again else step.requested_at
        yield Happening(_since(placed, moment), step.name, "requested", f"attempt {step.attempts}" if again else "")
    if step.state == before.state or step.state in _QUIET:
        return
    if step.state in _UNDOING and before.state in _QUIET and following.attempts:
        # It was done and undone between two updates: its answer was what the following step was asked for upon.
        yield Happening(_since(placed, following.requested_at), step.name, "done")
    undoing = step.state == SagaStepState.SAGA_STEP_STATE_COMPENSATING
    moment = updated if undoing or not step.HasField("finished_at") else step.finished_at
    yield Happening(_since(placed, moment), step.name, enum_word(SagaStepState, step.state), step.detail)


def _since(placed: Timestamp, moment: Timestamp) -> float:
    return max(0.0, (moment.ToNanoseconds() - placed.ToNanoseconds()) / 1e9)
