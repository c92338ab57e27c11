"""Orders and sagas as protobuf shows them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from millrace.saga import SagaState, SagaStatus, StepStatus
from order_service.application.announcing import items_on_wire, money_on_wire
from order_service.domain.order import Order, OrderStatus
from shop.order.v1 import order_messages_pb2 as messages
from shop.order.v1 import order_service_pb2 as wire

_ORDER_STATUS = {
    OrderStatus.PENDING: messages.ORDER_STATUS_PENDING,
    OrderStatus.CONFIRMED: messages.ORDER_STATUS_CONFIRMED,
    OrderStatus.CANCELLING: messages.ORDER_STATUS_CANCELLING,
    OrderStatus.CANCELLED: messages.ORDER_STATUS_CANCELLED,
    OrderStatus.COMPLETED: messages.ORDER_STATUS_COMPLETED,
}
_FROM_WIRE = {number: status for status, number in _ORDER_STATUS.items()}
_SAGA_STATUS = {
    SagaStatus.NEW: wire.SAGA_STATUS_UNSPECIFIED,
    SagaStatus.RUNNING: wire.SAGA_STATUS_RUNNING,
    SagaStatus.COMPENSATING: wire.SAGA_STATUS_COMPENSATING,
    SagaStatus.COMPLETED: wire.SAGA_STATUS_COMPLETED,
    SagaStatus.COMPENSATED: wire.SAGA_STATUS_COMPENSATED,
}
_STEP_STATE = {
    StepStatus.AWAITING_LOCK: wire.SAGA_STEP_STATE_AWAITING_LOCK,
    StepStatus.PENDING: wire.SAGA_STEP_STATE_WAITING,
    StepStatus.REQUESTED: wire.SAGA_STEP_STATE_REQUESTED,
    StepStatus.SUCCEEDED: wire.SAGA_STEP_STATE_DONE,
    StepStatus.FAILED: wire.SAGA_STEP_STATE_REFUSED,
    StepStatus.UNKNOWN: wire.SAGA_STEP_STATE_TIMED_OUT,
    StepStatus.COMPENSATING: wire.SAGA_STEP_STATE_COMPENSATING,
    StepStatus.COMPENSATED: wire.SAGA_STEP_STATE_COMPENSATED,
}


def order_to_wire(order: Order) -> wire.Order:
    """Return an order as the edge answers it."""
    return wire.Order(
        order_id=order.order_id,
        customer_id=order.customer_id,
        items=items_on_wire(order),
        total_amount=money_on_wire(order),
        status=_ORDER_STATUS[order.status],
        reason=order.reason,
        delayed=order.delayed,
        sequence=order.sequence,
        created_at=_time(order.created_at),
        updated_at=_time(order.updated_at),
    )


def saga_to_wire(order_id: str, saga: SagaState) -> wire.Saga:
    """Return a saga as the edge answers it; steps that a finished saga never reached are skipped ones."""
    steps = [
        wire.SagaStep(
            name=step.name,
            state=wire.SAGA_STEP_STATE_SKIPPED
            if step.status is StepStatus.PENDING and saga.status in (SagaStatus.COMPENSATING, SagaStatus.COMPENSATED)
            else _STEP_STATE[step.status],
            attempts=step.attempts,
            requested_at=_time(step.requested_at),
            finished_at=_time(step.finished_at),
            detail=step.detail,
        )
        for step in saga.steps
    ]
    return wire.Saga(
        saga_id=f"saga-{order_id}",
        order_id=order_id,
        status=_SAGA_STATUS[saga.status],
        steps=steps,
        started_at=_time(saga.started_at),
        finished_at=_time(saga.finished_at),
        locks=[wire.SagaLock(resource=lock.resource, token=lock.token, held_until=_time(lock.until)) for lock in saga.locks],
    )


def status_from_wire(status: messages.OrderStatus.ValueType) -> OrderStatus | None:
    """Return the status to filter by; None for an unspecified or unknown one."""
    return _FROM_WIRE.get(status)


def _time(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    written = Timestamp()
    written.FromDatetime(at)
    return written
