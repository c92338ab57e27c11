"""PlaceOrder's validation takes any request: it gives a command that adds up, or names every field at fault."""

from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.edge.validation import INT32_MAX, INT64_MAX
from millrace.errors import Invalid
from order_service.domain.commands import PlaceOrder
from order_service.edge.validation import check_place_order
from shop.order.v1.order_service_pb2 import OrderLine, PlaceOrderRequest
from shop.types.v1.money_pb2 import Money

INT32 = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, INT32_MAX, -1]))
INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 899, INT64_MAX, -1]))
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.sampled_from(["mug", "pot", "", " ", "\x00", "a" * 201])
)
CUSTOMERS = st.one_of(st.uuids().map(str), st.uuids().map(lambda found: str(found).upper()), TEXT)
CURRENCIES = st.one_of(st.sampled_from(["EUR", "USD", "eur", "EURO", "EUR\n"]), TEXT)
LINES = st.builds(OrderLine, item_id=TEXT, quantity=INT32, price=st.builds(Money, currency=CURRENCIES, minor_units=INT64))
SOUND_LINES = st.builds(
    OrderLine,
    item_id=st.sampled_from(["mug", "pot", "vase"]),
    quantity=st.integers(1, INT32_MAX),
    price=st.builds(Money, currency=st.sampled_from(["EUR", "EUR", "EUR", "USD"]), minor_units=st.integers(0, 2**40)),
)
REQUESTS = st.builds(
    PlaceOrderRequest,
    customer_id=CUSTOMERS,
    idempotency_key=TEXT,
    items=st.one_of(st.lists(LINES, max_size=6), st.lists(SOUND_LINES, min_size=1, max_size=3), st.just([OrderLine()] * 101)),
)


def checked(request: PlaceOrderRequest) -> PlaceOrder | Invalid:
    try:
        return check_place_order(request)
    except Invalid as refused:
        return refused


def assert_sound(request: PlaceOrderRequest, found: PlaceOrder | Invalid) -> None:
    if isinstance(found, Invalid):
        assert found.violations
        assert all(fault.field and fault.description for fault in found.violations)
        return
    assert str(UUID(found.order_id)) == found.order_id
    assert str(UUID(found.customer_id)) == found.customer_id == request.customer_id.lower()
    assert len({item.item_id for item in found.items}) == len(request.items) == len(found.items)
    assert {line.price.currency for line in request.items} == {found.total.currency}
    assert all(1 <= item.quantity <= INT32_MAX and item.price_minor >= 0 for item in found.items)
    assert found.total.minor_units == sum(item.quantity * item.price_minor for item in found.items) <= INT64_MAX
    assert check_place_order(request) == found


@settings(max_examples=300, deadline=None)
@given(REQUESTS)
@example(
    PlaceOrderRequest(
        customer_id="6f3f0d52-4c7e-4f8e-9d53-0000000000c1",
        idempotency_key="key",
        items=[OrderLine(item_id="mug", quantity=2, price=Money(currency="EUR", minor_units=INT64_MAX))],
    )
)
def test_any_request_is_a_sound_order_or_refused_with_reasons(request: PlaceOrderRequest) -> None:
    assert_sound(request, checked(request))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_that_are_a_request_are_a_sound_order_or_refused(data: Any) -> None:
    """As they come in over the wire: a valid request with bytes changed, cut or added."""
    whole = bytearray(data.draw(REQUESTS).SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    request = PlaceOrderRequest()
    try:
        request.ParseFromString(bytes(whole))
    except DecodeError:  # gRPC answers such bytes itself
        return
    assert_sound(request, checked(request))
