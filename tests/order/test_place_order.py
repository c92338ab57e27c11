"""PlaceOrder over a real server: one order a key, whatever becomes of the catalogue, and nothing of a request that is refused."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message as Protobuf

from millrace.edge.client import status_violations
from order_service.bootstrap import parts
from order_service.config import Config
from order_service.edge.validation import check_place_order
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1 import order_service_pb2 as wire
from shop.order.v1.order_service_pb2_grpc import OrderServiceStub
from shop.types.v1.money_pb2 import Money
from shopkit.testing.bench import Bench, type_names

CUSTOMER = "6f3f0d52-4c7e-4f8e-9d53-0000000000c1"
Change = Callable[[wire.PlaceOrderRequest], Any]


def request(change: Change = lambda _: None) -> wire.PlaceOrderRequest:
    """Return a request for two mugs and a pot, changed."""
    made = wire.PlaceOrderRequest(
        customer_id=CUSTOMER,
        idempotency_key="key",
        items=[
            wire.OrderLine(item_id="mug", quantity=2, price=Money(currency="EUR", minor_units=899)),
            wire.OrderLine(item_id="pot", quantity=1, price=Money(currency="EUR", minor_units=2499)),
        ],
    )
    change(made)
    return made


def set_price(number: int, minor: int) -> Change:
    def change(made: wire.PlaceOrderRequest) -> None:
        made.items[number].price.minor_units = minor

    return change


def set_quantity(number: int, quantity: int) -> Change:
    def change(made: wire.PlaceOrderRequest) -> None:
        made.items[number].quantity = quantity

    return change


def place(bench: Bench, wanted: wire.PlaceOrderRequest) -> wire.Order:
    async def scenario() -> wire.Order:
        async with bench.edge() as channel:
            stub: Any = OrderServiceStub(channel)
            order: wire.Order = (await stub.PlaceOrder(wanted)).order
            return order

    return asyncio.run(scenario())


def refusal(bench: Bench, wanted: wire.PlaceOrderRequest) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        place(bench, wanted)
    return refused.value.code().name, [violation.field for violation in status_violations(refused.value)]


def mug(price_minor: int = 899, *, active: bool = True) -> ItemChangedEvent:
    """Return a later message about the mug than the first."""
    price = Money(currency="EUR", minor_units=price_minor)
    return ItemChangedEvent(item_id="mug", name="Mug", price=price, active=active, sequence=2)


@pytest.fixture
def stocked(bench: Bench, items: Mapping[str, Protobuf]) -> Bench:
    """Give the service with its catalogue read."""
    bench.hear(*items.values())
    return bench


def test_an_order_is_placed_with_the_names_of_the_catalogue(stocked: Bench) -> None:
    order = place(stocked, request())
    assert [(line.name, line.quantity) for line in order.items] == [("Mug", 2), ("Pot", 1)]
    assert order.total_amount == Money(currency="EUR", minor_units=4297)
    assert type_names(stocked.sent()) == ["OrderCreatedEvent", "ChargePaymentCommand"]


def test_the_same_request_again_is_the_same_order(stocked: Bench) -> None:
    first = place(stocked, request())
    stocked.sent()
    assert place(stocked, request()) == first
    assert stocked.sent() == []


@pytest.mark.parametrize("change", [mug(999), mug(active=False)], ids=["the price changed", "the item was taken out"])
def test_the_same_request_again_is_the_same_order_whatever_became_of_its_items(stocked: Bench, change: ItemChangedEvent) -> None:
    first = place(stocked, request())
    stocked.sent()
    stocked.hear(change)
    assert place(stocked, request()) == first
    assert refusal(stocked, request(set_quantity(0, 3))) == ("ALREADY_EXISTS", [])
    assert refusal(stocked, request(lambda made: setattr(made, "idempotency_key", "another")))[0] == "INVALID_ARGUMENT"
    assert stocked.sent() == []


def test_the_same_request_again_is_the_same_order_while_no_catalogue_is_known(
    stocked: Bench, config: Callable[..., Config]
) -> None:
    first = place(stocked, request())
    stocked.rows("DELETE FROM catalogue_view")
    stocked.use(parts(config()))
    assert place(stocked, request()) == first
    assert refusal(stocked, request(set_quantity(0, 3))) == ("ALREADY_EXISTS", [])
    assert refusal(stocked, request(lambda made: setattr(made, "idempotency_key", "another")))[0] == "UNAVAILABLE"


@pytest.mark.parametrize(
    "change",
    [
        set_quantity(1, 2),
        lambda made: made.items.pop(),
        lambda made: made.items.reverse(),
    ],
    ids=["quantity", "fewer items", "another order of items"],
)
def test_another_order_under_the_same_key_already_exists(stocked: Bench, change: Change) -> None:
    place(stocked, request())
    stocked.sent()
    assert refusal(stocked, request(change)) == ("ALREADY_EXISTS", [])
    assert stocked.sent() == []


def test_keys_belong_to_customers(stocked: Bench) -> None:
    another = request(lambda made: setattr(made, "customer_id", CUSTOMER[:-1] + "2"))
    assert place(stocked, request()).order_id != place(stocked, another).order_id


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (lambda made: made.items[0].__setattr__("item_id", "unicorn"), ["items[0].item_id"]),
        (set_price(1, 1), ["items[1].price"]),
    ],
    ids=["an unknown item", "a wrong price"],
)
def test_what_the_catalogue_does_not_offer_is_refused_and_nothing_is_stored(
    stocked: Bench, change: Change, fields: list[str]
) -> None:
    assert refusal(stocked, request(change)) == ("INVALID_ARGUMENT", fields)
    assert stocked.sent() == []
    assert stocked.rows("SELECT 1 FROM order_view") == []


@pytest.mark.parametrize(
    "change",
    [
        set_quantity(0, 3),
        set_price(0, 900),
        lambda made: made.items[0].__setattr__("item_id", "cup"),
        lambda made: made.items.pop(),
        lambda made: [line.price.__setattr__("currency", "USD") for line in made.items],
    ],
    ids=["quantity", "price", "item", "fewer items", "currency"],
)
def test_every_field_that_says_what_is_ordered_is_part_of_the_fingerprint(change: Change) -> None:
    one, other = check_place_order(request()), check_place_order(request(change))
    assert one.order_id == other.order_id
    assert one.fingerprint != other.fingerprint


def test_the_spelling_of_the_customers_id_makes_no_difference() -> None:
    shouted = request(lambda made: setattr(made, "customer_id", CUSTOMER.upper()))
    assert check_place_order(shouted) == check_place_order(request())
