"""The checks of a request's fields: what passes, what does not, and that all faults come at once."""

import pytest

from millrace.edge.validation import INT32_MAX, INT64_MAX, Violations, write_page_token
from millrace.errors import Invalid


def test_all_faults_are_raised_at_once_in_order() -> None:
    found = Violations()
    found.uuid("customer_id", "no")
    found.money("items[0].price", "eur", -1)
    found.not_empty("items", [])
    with pytest.raises(Invalid) as caught:
        found.raise_if_any()
    assert [v.field for v in caught.value.violations] == [
        "customer_id",
        "items[0].price.currency",
        "items[0].price.minor_units",
        "items",
    ]


def test_nothing_is_raised_without_a_fault() -> None:
    found = Violations()
    assert found.uuid("id", "123E4567-e89b-42d3-a456-426614174000")
    assert found.text("name", "Grüße 🫖")
    assert found.quantity("quantity", INT32_MAX)
    assert found.money("price", "EUR", INT64_MAX)
    assert found.stock("on_hand", 0)
    assert found.one_currency([("a", "EUR"), ("b", "EUR")], "EUR")
    found.raise_if_any()
    assert not found


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "a\nb", "x" * 201, "\x7f"])
def test_text_that_is_empty_too_long_or_has_control_characters_is_a_fault(text: str) -> None:
    assert not Violations().text("name", text)


@pytest.mark.parametrize("uuid", ["", "123e4567e89b42d3a456426614174000", "{123e4567-e89b-42d3-a456-426614174000}", "x" * 36])
def test_only_the_long_form_of_a_uuid_passes(uuid: str) -> None:
    assert not Violations().uuid("id", uuid)


@pytest.mark.parametrize("quantity", [0, -1, INT32_MAX + 1])
def test_a_quantity_is_positive_and_fits_int32(quantity: int) -> None:
    assert not Violations().quantity("quantity", quantity)


def test_a_total_must_fit_int64() -> None:
    assert Violations().total("items", [(1, INT64_MAX)])
    assert not Violations().total("items", [(1, INT64_MAX), (1, 1)])


def test_mixed_currencies_name_each_odd_one() -> None:
    found = Violations()
    assert not found.one_currency([("items[0].price", "EUR"), ("items[1].price", "USD")], "EUR")
    with pytest.raises(Invalid, match=r"items\[1\].price: must be EUR"):
        found.raise_if_any()


def test_page_sizes_have_a_default_and_a_limit() -> None:
    found = Violations()
    assert [found.page_size("page_size", size) for size in (0, 7, 9999)] == [50, 7, 500]
    assert not found
    found.page_size("page_size", -1)
    assert found


def test_page_tokens_come_back_as_they_went() -> None:
    found = Violations()
    assert found.page_token("page_token", write_page_token("order-17")) == "order-17"
    assert found.page_token("page_token", "") is None
    assert not found


@pytest.mark.parametrize("token", ["a", "é", "////", write_page_token("a\0b")])
def test_a_token_nobody_made_is_a_fault(token: str) -> None:
    found = Violations()
    assert found.page_token("page_token", token) is None
    assert found
