"""Prints tables for people and JSON for machines. What comes from a server is shown as it is, never read as markup or escapes."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as Protobuf
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

T = TypeVar("T")
_PIPE_WIDTH = 220


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table of T. A `whole` one is never broken over lines: for ids that get copied, and for words and figures."""

    title: str
    value: Callable[[T], object]
    right: bool = False
    whole: bool = False


def console() -> Console:
    """Return a console on stdout as it is now; a pipe gets lines wide enough that nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def make_table(title: str, columns: Sequence[Column[T]], rows: Iterable[T]) -> Table:
    """Return a table with one line for each row, ready to print."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=column.whole, overflow="fold")
    for row in rows:
        table.add_row(*(plain(column.value(row)) for column in columns))
    return table


def plain(value: object) -> Text:
    """Return a value as text without control characters, so that no name in a store can write to the terminal."""
    return Text("".join(each for each in str(value) if unicodedata.category(each) not in {"Cc", "Cs"}))


def print_json(value: Protobuf | Sequence[Protobuf]) -> None:
    """Print one line of JSON in protobuf's own mapping, with the names of the proto files: an object, or a list of them."""
    typer.echo(json.dumps(_mapping(value) if isinstance(value, Protobuf) else [_mapping(each) for each in value]))


def print_json_object(**parts: Protobuf) -> None:
    """Print one line of JSON: an object with each message under its name."""
    typer.echo(json.dumps({name: _mapping(part) for name, part in parts.items()}))


def _mapping(message: Protobuf) -> dict[str, object]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
