"""Turns times and money into protobuf and back. Used by edges and handlers; it knows no service."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from shop.types.v1.money_pb2 import Money


def to_timestamp(time: datetime) -> Timestamp:
    """Return an aware time as protobuf writes it."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """Return the aware UTC time of a timestamp. Raises ValueError for one outside the years 1 to 9999."""
    return stamp.ToDatetime(UTC)


def to_money(currency: str, minor_units: int) -> Money:
    """Return an amount as protobuf writes it."""
    return Money(currency=currency, minor_units=minor_units)
