"""Every outcome of an order over real Kafka, on SQLite and on PostgreSQL (two instances of each service): where each service then
stands, that money and stock are conserved, and that exactly the expected messages are on every topic."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import grpc
import pytest

from devkit.services import SERVICES
from devkit.stack import Stack, StackSettings
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import CancelOrderRequest, SagaStepState
from shopkit.testing.books import messages_unfit, read_books, stock, stock_unfit, unfit
from shopkit.testing.connection import ShopConnection, code_of
from shopkit.testing.driver import Placed, cancel, get_order, place, place_all, wait_settled
from shopkit.testing.outcomes import CANCELLED, DECLINED, DELAYED, HAPPY, OUTCOMES, REFUSED, SHORT, Outcome
from shopkit.testing.records import Seen, all_read, count_all, read_all, topic_names

pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Run:
    """A shop in which one order of each outcome, and a few more of the happy one, went to its end."""

    stack: Stack
    shop: ShopConnection
    stock_before: Mapping[str, Stock]
    placed: Mapping[str, Placed]
    all_placed: tuple[Placed, ...]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    quick_settings: Mapping[str, Mapping[str, str]],
    connect: Callable[[Stack], ShopConnection],
) -> Iterator[Run]:
    store: Literal["sqlite", "postgresql"] = request.param
    settings = StackSettings(
        folder=tmp_path_factory.mktemp(store),
        store=store,
        postgres_url=postgres_server,
        instances={} if store == "sqlite" else dict.fromkeys(SERVICES, 2),
        env=quick_settings,
    )
    with Stack(settings) as stack:
        shop = connect(stack)
        before = stock(shop)
        to_cancel = place(shop, CANCELLED)
        assert cancel(shop, to_cancel.order_id)
        others = place_all(shop, [*(outcome for outcome in OUTCOMES if outcome is not CANCELLED), *[HAPPY] * 5])
        placed = (to_cancel, *others)
        wait_settled(shop, placed, within_seconds=60)
        yield Run(stack, shop, before, {each.outcome.name: each for each in reversed(placed)}, placed)


def messages_of(run: Run, order_id: str) -> list[Seen]:
    found = read_all(run.stack.bootstrap, topic_names())
    return [seen for seen in found if seen.key == order_id.encode()]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.name)
def test_every_service_holds_the_outcome_and_the_topics_exactly_its_messages(run: Run, outcome: Outcome) -> None:
    placed = run.placed[outcome.name]
    assert unfit(read_books(run.shop, placed.order_id), outcome) == []
    eventually(lambda: not messages_unfit(messages_of(run, placed.order_id), outcome), 10,
               lambda: messages_unfit(messages_of(run, placed.order_id), outcome))  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(DECLINED, "payment declined"), (SHORT, "stock short"), (REFUSED, "shipping failed"), (CANCELLED, "changed my mind")],
    ids=lambda value: value.name if isinstance(value, Outcome) else "",
)
def test_a_cancelled_order_says_why(run: Run, outcome: Outcome, reason: str) -> None:
    order = get_order(run.shop, run.placed[outcome.name].order_id)
    assert order.reason.startswith(reason)


def test_a_delayed_order_says_so_and_a_punctual_one_does_not(run: Run) -> None:
    assert get_order(run.shop, run.placed[DELAYED.name].order_id).delayed
    assert not get_order(run.shop, run.placed[HAPPY.name].order_id).delayed


def test_a_saga_shows_what_became_of_each_of_its_steps(run: Run) -> None:
    def states(outcome: Outcome) -> dict[str, str]:
        saga = read_books(run.shop, run.placed[outcome.name].order_id).saga
        return {step.name: SagaStepState.Name(step.state).removeprefix("SAGA_STEP_STATE_") for step in saga.steps}

    assert states(HAPPY) == {"payment": "DONE", "stock": "DONE", "shipping": "DONE", "dispatch": "DONE"}
    assert states(DECLINED) == {"payment": "REFUSED", "stock": "SKIPPED", "shipping": "SKIPPED", "dispatch": "SKIPPED"}
    assert states(SHORT) == {"payment": "COMPENSATED", "stock": "REFUSED", "shipping": "SKIPPED", "dispatch": "SKIPPED"}
    assert states(REFUSED) == {"payment": "COMPENSATED", "stock": "COMPENSATED", "shipping": "REFUSED", "dispatch": "SKIPPED"}
    assert states(CANCELLED) == {"payment": "COMPENSATED", "stock": "SKIPPED", "shipping": "SKIPPED", "dispatch": "SKIPPED"}


def test_cancelling_a_confirmed_order_is_refused(run: Run) -> None:
    order_id = run.placed[HAPPY.name].order_id
    with pytest.raises(grpc.RpcError) as refused:
        run.shop.order.CancelOrder(CancelOrderRequest(order_id=order_id), timeout=10)
    assert code_of(refused.value) is grpc.StatusCode.FAILED_PRECONDITION
    assert get_order(run.shop, order_id).status == OrderStatus.ORDER_STATUS_COMPLETED


def test_stock_is_conserved_and_no_reservation_is_left(run: Run) -> None:
    shipped = Counter[str]()
    for each in run.all_placed:
        if each.outcome.status == OrderStatus.ORDER_STATUS_COMPLETED:
            shipped[each.outcome.item_id] += each.outcome.quantity
    assert stock_unfit(run.stock_before, stock(run.shop), shipped) == []


def test_money_is_conserved(run: Run) -> None:
    charged = refunded = kept = 0
    for each in run.all_placed:
        books = read_books(run.shop, each.order_id)
        assert books.payment is not None
        charged += books.payment.charged.minor_units
        refunded += books.payment.refunded.minor_units
        kept += each.outcome.amount_minor if books.order.status == OrderStatus.ORDER_STATUS_COMPLETED else 0
    assert kept > 0
    assert refunded > 0
    assert charged == kept + refunded


def test_no_topic_holds_more_than_the_messages_of_these_orders_and_nothing_is_dead(run: Run) -> None:
    expected = Counter[str]()
    for each in run.all_placed:
        expected += each.outcome.all_messages
    eventually(lambda: all_read(run.stack.bootstrap), 20, every_seconds=0.2)
    of_orders = [seen for seen in read_all(run.stack.bootstrap, topic_names()) if seen.topic != "item.changed"]
    assert Counter(seen.type for seen in of_orders) == expected
    assert count_all(run.stack.bootstrap, topic_names(dead_letters=True)) == 0


def test_every_message_is_on_the_partition_of_its_key_and_says_where_it_came_from(run: Run) -> None:
    partitions: dict[tuple[str, Any], set[int]] = {}
    for seen in read_all(run.stack.bootstrap, topic_names()):
        partitions.setdefault((seen.topic, seen.key), set()).add(seen.partition)
        assert seen.text("ce_source").startswith("/shop/")
        assert seen.text("ce_correlationid")
    assert all(len(found) == 1 for found in partitions.values())
