from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.envelope import decode, encode_headers, encode_time
from millrace.errors import Undecodable
from millrace.message import Message, Record

MESSAGE = Message(
    type="shop.order.v1.OrderCreatedEvent",
    payload=b"\x0a\x03o-1",
    key="o-1",
    source="/order",
    id="m-1",
    time=datetime(2026, 1, 31, 23, 59, 59, 123456, UTC),
    headers={"ce_correlationid": "m-0", "traceparent": "00-a-b-01"},
)
NOTHING: Mapping[str, bytes | None] = {}
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
CORE = ("ce_specversion", "content-type", "ce_id", "ce_type", "ce_source", "ce_time")


def record(message: Message = MESSAGE, *, without: str = "", changed: Mapping[str, bytes | None] = NOTHING) -> Record:
    """Return a message as a broker would deliver it, with a header left out or some changed."""
    headers = tuple((name, changed.get(name, value)) for name, value in encode_headers(message) if name != without)
    return Record("t", 0, 0, None if message.key is None else message.key.encode(), message.payload, headers)


def test_core_attributes_come_first_and_extensions_keep_their_order() -> None:
    assert encode_headers(MESSAGE) == [
        ("ce_specversion", b"1.0"),
        ("content-type", b"application/protobuf"),
        ("ce_id", b"m-1"),
        ("ce_type", b"shop.order.v1.OrderCreatedEvent"),
        ("ce_source", b"/order"),
        ("ce_time", b"2026-01-31T23:59:59.123456Z"),
        ("ce_correlationid", b"m-0"),
        ("traceparent", b"00-a-b-01"),
    ]


@given(
    payload=st.binary(),
    key=st.none() | TEXT,
    time=st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    value=TEXT,
)
def test_what_is_encoded_is_decoded_to_the_same(payload: bytes, key: str | None, time: datetime, value: str) -> None:
    message = Message("a.B", payload, key, "/source", "m-1", time, {"ce_extension": value})
    assert decode(record(message)) == message


def test_a_time_is_written_in_utc_whatever_its_offset() -> None:
    assert encode_time(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31T23:00:00.000000Z"


@pytest.mark.parametrize("name", CORE)
def test_a_record_without_a_core_attribute_is_undecodable(name: str) -> None:
    with pytest.raises(Undecodable, match=name):
        decode(record(without=name))


@pytest.mark.parametrize(
    "changed",
    [
        {"ce_specversion": b"0.3"},
        {"content-type": b"application/json"},
        {"ce_time": b"yesterday"},
        {"ce_time": b"2026-01-31T23:59:59"},
        {"ce_id": b""},
        {"ce_id": None},
        {"ce_type": b"\xff\xfe"},
        {"traceparent": b"\xff"},
        {"ce_source": b"a\x00b"},
    ],
)
def test_a_record_with_a_wrong_attribute_is_undecodable(changed: dict[str, bytes | None]) -> None:
    with pytest.raises(Undecodable):
        decode(record(changed=changed))


def test_a_tombstone_is_no_message() -> None:
    whole = record()
    with pytest.raises(Undecodable, match="no payload"):
        decode(Record("t", 0, 0, whole.key, None, whole.headers))


@pytest.mark.parametrize("key", [b"\xff", b"o\x00"])
def test_a_key_that_no_text_column_takes_is_undecodable(key: bytes) -> None:
    whole = record()
    with pytest.raises(Undecodable):
        decode(Record("t", 0, 0, key, whole.value, whole.headers))


def test_an_extension_without_a_value_is_left_out() -> None:
    assert dict(decode(record(changed={"traceparent": None})).headers) == {"ce_correlationid": "m-0"}
