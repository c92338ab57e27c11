"""One value as text: enums without their prefix, money in its major unit, times in UTC."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from shop.types.v1.money_pb2 import Money

# ISO 4217: currencies whose minor unit is not a hundredth.
_DIGITS: Final = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def enum_word(enum: Any, value: int) -> str:
    """Return a protobuf enum's value in lower case without its prefix, such as `pending`; a number nobody knows as it is."""
    known: dict[int, str] = {each.number: each.name for each in enum.DESCRIPTOR.values}
    prefix = known[0].removesuffix("UNSPECIFIED")
    return known.get(value, str(value)).removeprefix(prefix).lower()


def enum_words(enum: Any) -> dict[str, int]:
    """Return every word of a protobuf enum but `unspecified`, with its number."""
    return {enum_word(enum, each.number): each.number for each in enum.DESCRIPTOR.values if each.number}


def money(amount: Money) -> str:
    """Return an amount such as `24.99 EUR`, empty when there is none."""
    if not amount.currency:
        return ""
    digits = _DIGITS.get(amount.currency, 2)
    whole, part = divmod(abs(amount.minor_units), 10**digits)
    sign = "-" if amount.minor_units < 0 else ""
    return f"{sign}{whole}{f'.{part:0{digits}d}' if digits else ''} {amount.currency}"


def moneys(amounts: Iterable[Money]) -> str:
    """Return amounts of several currencies, joined."""
    return ", ".join(money(each) for each in amounts)


def time(moment: Timestamp) -> str:
    """Return a time in UTC to the second, empty when there is none."""
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment.seconds else ""


def time_of_day(moment: Timestamp) -> str:
    """Return a time of day in UTC to the millisecond, empty when there is none."""
    return moment.ToDatetime(UTC).isoformat(timespec="milliseconds")[11:23] if moment.seconds else ""


def seconds(duration: Duration) -> str:
    """Return a duration such as `0.412 s`."""
    return f"{duration.seconds + duration.nanos / 1e9:.3f} s"
