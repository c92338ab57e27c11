"""How letters are printed: tables and one whole letter for people, JSON for machines."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import typer
from rich.table import Table

from millrace.cli.output import Column, make_table, plain
from millrace.dead_letters.letter import Letter

_SHOWN_BYTES = 1024
_SHOWN_REASON = 120

_COLUMNS: Sequence[Column[Letter]] = (
    Column("id", lambda letter: letter.id, whole=True),
    Column("state", lambda letter: letter.state, whole=True),
    Column("handler", lambda letter: letter.handler),
    Column("topic", lambda letter: letter.record.topic),
    Column("key", lambda letter: letter.key),
    Column("type", lambda letter: letter.type.rpartition(".")[2]),
    Column("tries", lambda letter: letter.attempts, right=True, whole=True),
    Column("behind", lambda letter: letter.waiting, right=True, whole=True),
    Column("at (UTC)", lambda letter: f"{letter.at:%Y-%m-%d %H:%M:%S}", whole=True),
    Column("reason", lambda letter: _shortened(letter.reason)),
)


def letters_table(letters: Sequence[Letter]) -> Table:
    """Return a table with one line for each letter."""
    return make_table("Dead letters", _COLUMNS, letters)


def summary_line(letters: Sequence[Letter]) -> str:
    """Return how many letters these are, of how many keys, and how much waits behind them."""
    keys = len({(letter.handler, letter.key) for letter in letters})
    behind = sum(letter.waiting for letter in letters)
    waits = f"; {count_of(behind, 'message')} wait{'s' if behind == 1 else ''} behind" if behind else ""
    return f"{count_of(len(letters), 'dead letter')} of {count_of(keys, 'key')}{waits}"


def reasons_table(letters: Sequence[Letter]) -> Table:
    """Return a table of where letters come from and why, the most frequent first."""
    groups = Counter((letter.handler, letter.record.topic, _shortened(letter.reason)) for letter in letters)
    columns: Sequence[Column[tuple[tuple[str, str, str], int]]] = (
        Column("letters", lambda row: row[1], right=True, whole=True),
        Column("handler", lambda row: row[0][0]),
        Column("topic", lambda row: row[0][1]),
        Column("reason", lambda row: row[0][2]),
    )
    return make_table("", columns, groups.most_common(20))


def letter_lines(letter: Letter) -> str:
    """Return everything about one letter, for people: its bytes in hexadecimal, the first 1,024 of them."""
    record = letter.record
    value = b"" if record.value is None else record.value
    about = {
        "id": letter.id,
        "state": letter.state,
        "handler": letter.handler,
        "record": f"{record.topic}/{record.partition}/{record.offset}",
        "key": letter.key,
        "type": letter.type,
        "message id": letter.message_id,
        "attempts": letter.attempts,
        "waiting behind": letter.waiting,
        "at": _time(letter.at),
        "reason": letter.reason,
        **{
            f"header {name}": "" if content is None else content.decode(errors="backslashreplace")
            for name, content in record.headers
        },
        "value": "none, a tombstone" if record.value is None else count_of(len(value), "byte"),
    }
    width = max(map(len, about))
    lines = [f"{name:{width}}  {plain(content)}".rstrip() for name, content in about.items()]
    lines += [_hex_line(value, start) for start in range(0, min(len(value), _SHOWN_BYTES), 16)]
    if len(value) > _SHOWN_BYTES:
        lines.append(f"... and {len(value) - _SHOWN_BYTES} more; --json has them all")
    return "\n".join(lines)


def letter_json(letter: Letter, *, whole: bool = False) -> dict[str, object]:
    """Return a letter for machines; a `whole` one with its raw key, headers and value in base64."""
    record = letter.record
    about: dict[str, object] = {
        "id": letter.id,
        "state": letter.state,
        "handler": letter.handler,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": letter.key,
        "type": letter.type,
        "message_id": letter.message_id,
        "attempts": letter.attempts,
        "waiting": letter.waiting,
        "at": _time(letter.at),
        "reason": letter.reason,
        "parked": letter.parked,
    }
    if whole:
        about["raw_key"] = _base64(record.key)
        about["headers"] = [[name, _base64(content)] for name, content in record.headers]
        about["value"] = _base64(record.value)
    return about


def print_json(value: object) -> None:
    """Print one line of JSON."""
    typer.echo(json.dumps(value))


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _SHOWN_REASON else f"{reason[:_SHOWN_REASON]}..."


def count_of(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _hex_line(value: bytes, start: int) -> str:
    part = value[start : start + 16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"  {start:08x}  {part.hex(' '):47}  {text}"
