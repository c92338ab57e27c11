"""Every outcome of an order over real Kafka, on SQLite and on PostgreSQL (two instances of each service): where each service then
stands, that money and stock are conserved, and that exactly the expected messages are on every topic. Then what partners do wrong: say
what cannot be true, or nothing."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import grpc
import pytest
from google.protobuf.message import Message as Protobuf

from devkit.services import SERVICES
from devkit.stack import Stack, StackSettings
from millrace.testing.waiting import eventually
from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.order.v1.order_messages_pb2 import OrderStatus
from shop.order.v1.order_service_pb2 import CancelOrderRequest, GetSagaRequest, SagaStepState
from shopkit.testing.books import messages_unfit, read_books, stock, stock_unfit, unfit
from shopkit.testing.connection import ShopConnection, code_of, patiently
from shopkit.testing.driver import Placed, cancel, get_order, place, place_all, wait_settled
from shopkit.testing.falsehoods import another_amount, discard, no_tracking_number, other_goods, parked_states, say
from shopkit.testing.outcomes import (
    BOOKED_TOO_LATE,
    CANCELLED,
    DECLINED,
    DELAYED,
    HAPPY,
    OUTCOMES,
    REFUSED,
    SHORT,
    SILENT_PAYMENT,
    SILENT_SHIPPING,
    SILENT_STOCK,
    Outcome,
)
from shopkit.testing.records import Seen, all_read, count_all, read_all, topic_names
from shopkit.topics import GROUPS

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
    return [seen for seen in read_all(run.stack.bootstrap, topic_names()) if seen.key == order_id.encode()]


def dead(run: Run, order_id: str) -> list[Seen]:
    return [seen for seen in read_all(run.stack.bootstrap, topic_names(dead_letters=True)) if seen.key == order_id.encode()]


def steps(run: Run, order_id: str) -> dict[str, str]:
    saga = patiently(run.shop.order.GetSaga, GetSagaRequest(order_id=order_id)).saga
    return {step.name: SagaStepState.Name(step.state).removeprefix("SAGA_STEP_STATE_") for step in saga.steps}


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
        return steps(run, run.placed[outcome.name].order_id)

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


@pytest.mark.parametrize(
    ("partner", "step", "answer", "fault"),
    [
        ("payment", "payment", another_amount, "amount: must be the order's total, 4998 EUR minor units"),
        ("inventory", "stock", other_goods, "lines: must be those of the order"),
        ("shipping", "shipping", no_tracking_number, "tracking_number"),
    ],
    ids=["payment", "inventory", "shipping"],
)
def test_an_answer_that_cannot_be_true_is_a_dead_letter_and_once_it_is_discarded_its_order_goes_on(
    run: Run, partner: str, step: str, answer: Callable[[str], Protobuf], fault: str
) -> None:
    with run.stack.frozen(partner):
        placed = place(run.shop, HAPPY)
        order_id = placed.order_id
        eventually(lambda: steps(run, order_id)[step] == "REQUESTED", 30, lambda: steps(run, order_id))
        said_on, said = say(run.stack.bootstrap, answer(order_id))
        readers = {group.id: group.service for group in GROUPS if said_on in group.topics}
        eventually(lambda: len(dead(run, order_id)) == len(readers), 30, lambda: dead(run, order_id))
        assert {seen.text("x-millrace-handler") for seen in dead(run, order_id)} == set(readers)
        for seen in dead(run, order_id):
            assert (seen.topic, seen.id, seen.value) == (f"{said_on}.dlt", said.id, said.payload)
            assert fault in seen.text("x-millrace-error")
        assert steps(run, order_id)[step] == "REQUESTED"
    store = run.stack.instance("order").store_url
    eventually(
        lambda: parked_states(store, "order", order_id)[:2] == ["dead", "retry"],
        30,
        lambda: parked_states(store, "order", order_id),
    )
    assert steps(run, order_id)[step] == "REQUESTED"
    for service in readers.values():
        discard(run.stack.instance(service).store_url, service, order_id)
    wait_settled(run.shop, [placed])
    true = [seen for seen in messages_of(run, order_id) if seen.id != said.id]
    assert messages_unfit(true, HAPPY) == []


@pytest.fixture(scope="module")
def hasty(run: Run) -> Run:
    """Give the shop with an order service that does not wait long. It stays so: the tests that take it are the last."""
    hasty = {"ORDER_SAGA_ANSWER_SECONDS": "1.5", "ORDER_SAGA_ATTEMPTS": "2", "ORDER_SAGA_SHIPPING_SECONDS": "3"}
    for instance in [each for each in run.stack.instances if each.service == "order"]:
        run.stack.restart(instance.service, instance.number, env=hasty)
    return run


@contextmanager
def killed(stack: Stack, service: str) -> Iterator[None]:
    numbers = [each.number for each in stack.instances if each.service == service]
    for number in numbers:
        stack.kill(service, number)
    yield
    for number in numbers:
        stack.restart(service, number)


@pytest.mark.parametrize(
    ("away", "partner", "step", "asked", "silent"),
    [
        (killed, "payment", "payment", ("ChargePaymentCommand", 2), SILENT_PAYMENT),
        (Stack.frozen, "inventory", "stock", ("ReserveStockCommand", 2), SILENT_STOCK),
        (Stack.frozen, "shipping", "shipping", ("OrderConfirmedEvent", 1), SILENT_SHIPPING),
    ],
    ids=["payment killed", "inventory frozen", "shipping frozen"],
)
def test_a_step_that_nobody_answers_ends_its_order_and_all_that_happened_is_undone(
    hasty: Run,
    away: Callable[[Stack, str], AbstractContextManager[None]],
    partner: str,
    step: str,
    asked: tuple[str, int],
    silent: Outcome,
) -> None:
    before = stock(hasty.shop)
    with away(hasty.stack, partner):
        order_id = place(hasty.shop, silent).order_id
        eventually(lambda: get_order(hasty.shop, order_id).reason == f"{step} gave no answer", 60, lambda: steps(hasty, order_id))
        if silent is SILENT_SHIPPING:
            eventually(lambda: get_order(hasty.shop, order_id).status == OrderStatus.ORDER_STATUS_CANCELLED, 30)
    wait_settled(hasty.shop, [Placed(order_id, silent, (BOOKED_TOO_LATE,) if silent is SILENT_SHIPPING else ())])
    assert stock_unfit(before, stock(hasty.shop), {}) == []
    found = Counter(seen.type for seen in messages_of(hasty, order_id))
    assert set(silent.all_messages) <= set(found) <= {*silent.all_messages, *BOOKED_TOO_LATE.messages}
    assert found[asked[0]] == asked[1]
    assert dead(hasty, order_id) == []
