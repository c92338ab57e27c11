"""Parameters that several commands share, and how their text becomes values."""

import os
from typing import Annotated, Any, TypeAlias

import typer

from shop.types.v1.money_pb2 import Money
from shopkit.clients import Shop, read_addresses
from shopkit.show.words import enum_words

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
OrderId: TypeAlias = Annotated[str, typer.Argument(metavar="ORDER", help="Id of the order.")]
ItemId: TypeAlias = Annotated[str, typer.Argument(metavar="ITEM", help="Id of the item.")]
Status: TypeAlias = Annotated[str, typer.Option("--status", help="Only with this status.")]

_INT64 = range(-(2**63), 2**63)


def shop() -> Shop:
    """Return the services at the addresses the environment names."""
    return Shop(read_addresses(os.environ))


def group(about: str) -> typer.Typer:
    """Return an empty group of commands that shows its help when called with none."""
    return typer.Typer(help=about, no_args_is_help=True)


def read_enum(enum: Any, word: str) -> Any:
    """Return a protobuf enum's value by its word, 0 for no word. Raises BadParameter that lists the words."""
    words = enum_words(enum)
    if word and word not in words:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(words)}")
    return words.get(word, 0)


def read_price(text: str) -> Money:
    """Return the money of a text such as `2499EUR`, in minor units. Raises BadParameter."""
    number, currency = text[:-3], text[-3:]
    return Money(currency=currency, minor_units=read_int64(number, f"{text!r} is no price such as 2499EUR (in minor units)"))


def read_int64(text: str, complaint: str) -> int:
    """Return a whole number that fits int64. Raises BadParameter with the complaint."""
    try:
        number = int(text)
    except ValueError:
        raise typer.BadParameter(complaint) from None
    if number not in _INT64:
        raise typer.BadParameter(complaint)
    return number
