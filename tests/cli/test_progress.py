"""What a watched order's updates tell: each change once, in the order of time."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shop.order.v1 import order_service_pb2 as rpc
from shop.order.v1.order_messages_pb2 import OrderStatus
from shopkit.show.progress import Happening, OrderProgress, is_final

START = 1_800_000_000


def moment(millis: int) -> Timestamp:
    return Timestamp(seconds=START, nanos=millis * 1_000_000)


def update(status: "OrderStatus.ValueType", at: int, *steps: rpc.SagaStep, **fields: Any) -> rpc.WatchOrderResponse:
    order = rpc.Order(status=status, created_at=moment(0), updated_at=moment(at), **fields)
    return rpc.WatchOrderResponse(order=order, saga=rpc.Saga(steps=steps))


def test_a_step_that_began_and_ended_between_two_updates_is_told_as_both() -> None:
    done = rpc.SagaStep(
        name="payment", state=rpc.SAGA_STEP_STATE_DONE, attempts=1, requested_at=moment(5), finished_at=moment(80)
    )
    waiting = rpc.SagaStep(name="stock", state=rpc.SAGA_STEP_STATE_WAITING)
    assert OrderProgress().update(update(OrderStatus.ORDER_STATUS_PENDING, 80, done, waiting)) == [
        Happening(0.0, "", "pending"),
        Happening(0.005, "payment", "requested"),
        Happening(0.08, "payment", "done"),
    ]


def test_a_step_that_was_done_and_undone_between_two_updates_is_told_as_both() -> None:
    undone = rpc.SagaStep(
        name="payment", state=rpc.SAGA_STEP_STATE_COMPENSATED, attempts=1, requested_at=moment(5), finished_at=moment(140)
    )
    short = rpc.SagaStep(
        name="stock", state=rpc.SAGA_STEP_STATE_REFUSED, attempts=1, requested_at=moment(60), finished_at=moment(70), detail="2"
    )
    assert OrderProgress().update(update(OrderStatus.ORDER_STATUS_CANCELLED, 140, undone, short, reason="short")) == [
        Happening(0.005, "payment", "requested"),
        Happening(0.06, "payment", "done"),
        Happening(0.06, "stock", "requested"),
        Happening(0.07, "stock", "refused", "2"),
        Happening(0.14, "payment", "compensated"),
        Happening(0.14, "", "cancelled", "short"),
    ]


def test_the_same_update_again_tells_nothing() -> None:
    progress = OrderProgress()
    step = rpc.SagaStep(name="payment", state=rpc.SAGA_STEP_STATE_REQUESTED, attempts=1, requested_at=moment(5))
    seen = update(OrderStatus.ORDER_STATUS_PENDING, 5, step)
    assert len(progress.update(seen)) == 2
    assert progress.update(seen) == []


def test_a_request_sent_again_is_told_with_its_number() -> None:
    progress = OrderProgress()
    step = rpc.SagaStep(name="payment", state=rpc.SAGA_STEP_STATE_REQUESTED, attempts=1, requested_at=moment(5))
    progress.update(update(OrderStatus.ORDER_STATUS_PENDING, 5, step))
    step.attempts = 2
    assert progress.update(update(OrderStatus.ORDER_STATUS_PENDING, 500, step)) == [
        Happening(0.5, "payment", "requested", "attempt 2")
    ]


def test_undoing_is_told_with_its_reason() -> None:
    progress = OrderProgress()
    undoing = rpc.SagaStep(name="payment", state=rpc.SAGA_STEP_STATE_COMPENSATING, attempts=1, requested_at=moment(5))
    progress.update(update(OrderStatus.ORDER_STATUS_CANCELLING, 90, undoing, reason="short"))
    undone = rpc.SagaStep(
        name="payment", state=rpc.SAGA_STEP_STATE_COMPENSATED, attempts=1, requested_at=moment(5), finished_at=moment(140)
    )
    last = update(OrderStatus.ORDER_STATUS_CANCELLED, 140, undone, reason="short")
    assert progress.update(last) == [Happening(0.14, "payment", "compensated"), Happening(0.14, "", "cancelled", "short")]
    assert is_final(last.order)
