"""An order can be cancelled until it is confirmed: it is undone as far as it got, once."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest
from google.protobuf.message import Message as Protobuf

from millrace.errors import NotFound, Refused
from order_service.domain.commands import CancelOrder, PlaceOrder
from order_service.domain.order import Order, OrderStatus
from shop.payment.v1.payment_messages_pb2 import RefundPaymentCommand
from shopkit.testing.bench import Bench, type_names

Answers = Callable[[str], Mapping[str, Protobuf]]
REFUND, RELEASE = "RefundPaymentCommand", "ReleaseStockCommand"
CONFIRMED = ("charged", "reserved")


class Placed:
    """One order, and what is told of it."""

    def __init__(self, bench: Bench, command: PlaceOrder, answers: Answers) -> None:
        self.bench = bench
        self.order_id = command.order_id
        self._answers = answers(command.order_id)
        bench.order(command.order_id, command)

    def hear(self, *names: str) -> "Placed":
        for name in names:
            [result] = self.bench.hear(self._answers[name])
            assert result is not None
            assert result.error is None
        return self

    def cancel(self, reason: str = "changed my mind") -> Order:
        order: Order = self.bench.order(self.order_id, CancelOrder(self.order_id, reason))
        return order

    def told(self) -> list[str]:
        return type_names(self.bench.sent())

    def status(self) -> tuple[str, str]:
        [(found, saga)] = self.bench.rows(
            "SELECT o.status, s.state FROM order_view o JOIN stream s ON s.id = 'saga-' || o.order_id"
        )
        return str(found), str(msgspec.json.decode(saga)["status"])


@pytest.fixture
def placed(bench: Bench, placing: Callable[..., PlaceOrder], answers: Answers) -> Placed:
    return Placed(bench, placing(), answers)


@pytest.mark.parametrize(
    ("before", "undone"),
    [
        ([], [(REFUND, "refunded")]),
        ([], [(REFUND, "refunded nothing")]),
        (["charged"], [(RELEASE, "released"), (REFUND, "refunded")]),
        (["charged"], [(RELEASE, "released nothing"), (REFUND, "refunded")]),
    ],
    ids=[
        "while charging, charged",
        "while charging, never charged",
        "while reserving, reserved",
        "while reserving, never reserved",
    ],
)
def test_what_was_asked_for_is_undone_one_by_one_and_then_the_order_is_cancelled(
    placed: Placed, before: Sequence[str], undone: Sequence[tuple[str, str]]
) -> None:
    placed.hear(*before).told()
    assert placed.cancel().status is OrderStatus.CANCELLING
    for command, answer in undone:
        assert placed.told() == [command]
        placed.hear(answer)
    assert placed.told() == ["OrderCancelledEvent"]
    assert placed.status() == ("cancelled", "compensated")
    events = [kind for (kind,) in placed.bench.rows("SELECT type FROM event WHERE stream LIKE 'order-%' ORDER BY version")]
    assert events == ["OrderCreated", "CancellationBegun", "OrderCancelled"]


@pytest.mark.parametrize("answer", ["", "short", "failed"], ids=["cancelled", "stock short", "refused by the carrier"])
def test_a_refund_says_why(placed: Placed, answer: str) -> None:
    before: Mapping[str, Sequence[str]] = {"": [], "short": ["charged", "short"], "failed": [*CONFIRMED, "failed", "released"]}
    placed.hear(*before[answer])
    reason = placed.cancel().reason
    assert reason
    [refund] = [sent for sent in placed.bench.sent() if sent.headers["ce_type"].endswith(REFUND)]
    assert refund.body(RefundPaymentCommand).reason == reason


@pytest.mark.parametrize(
    "before",
    [CONFIRMED, (*CONFIRMED, "scheduled"), (*CONFIRMED, "delayed"), (*CONFIRMED, "scheduled", "shipped")],
    ids=["confirmed", "scheduled", "delayed", "dispatched"],
)
def test_a_confirmed_order_is_not_cancelled(placed: Placed, before: Sequence[str]) -> None:
    placed.hear(*before).told()
    with pytest.raises(Refused, match="too late"):
        placed.cancel()
    assert placed.told() == []


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (["charged", "short"], OrderStatus.CANCELLING),
        (["charged", "short", "refunded"], OrderStatus.CANCELLED),
        (["declined"], OrderStatus.CANCELLED),
        ([*CONFIRMED, "failed"], OrderStatus.CANCELLING),
        ([*CONFIRMED, "failed", "released"], OrderStatus.CANCELLING),
        ([*CONFIRMED, "failed", "released", "refunded"], OrderStatus.CANCELLED),
    ],
    ids=["turning back", "short", "declined", "refused by the carrier", "releasing", "undone"],
)
def test_cancelling_what_is_being_cancelled_changes_nothing(placed: Placed, before: Sequence[str], status: OrderStatus) -> None:
    placed.hear(*before).told()
    order = placed.cancel("again")
    assert order.status is status
    assert order.reason not in ("", "again")
    assert placed.told() == []


def test_cancelling_twice_is_cancelling_once(placed: Placed) -> None:
    placed.told()
    placed.cancel()
    assert placed.cancel("again").reason == "changed my mind"
    assert placed.told() == [REFUND]


def test_an_answer_that_comes_after_the_cancellation_changes_nothing(placed: Placed) -> None:
    placed.told()
    placed.cancel()
    placed.told()
    placed.hear("charged", "declined")
    assert placed.told() == []
    assert placed.hear("refunded", "charged").told() == ["OrderCancelledEvent"]


def test_an_order_that_nobody_placed_is_not_found(bench: Bench) -> None:
    nobody = "6f3f0d52-4c7e-4f8e-9d53-00000000dead"
    with pytest.raises(NotFound):
        bench.order(nobody, CancelOrder(nobody, "why not"))
