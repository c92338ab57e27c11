"""Which letters a command means: the options that filter, as typed, and the letters by their ids."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import typer

from millrace.cli.failures import CommandFailed
from millrace.clock import utc_now
from millrace.dead_letters.letter import Letter, Letters, Wanted

STATES = ("dead", "retry", "waiting", "all")
_AGE = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_state(word: str) -> str:
    """Return a state by its word, empty for all. Raises BadParameter that lists the words."""
    if word not in STATES:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(STATES)}")
    return "" if word == "all" else word


def read_time(text: str) -> datetime | None:
    """Return a time typed as ISO 8601, in UTC where it says no offset, or as an age such as `90m`. Raises BadParameter."""
    if not text:
        return None
    try:
        if age := _AGE.fullmatch(text):
            return utc_now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a time such as 2026-01-31T12:00 nor an age such as 90m, 2h or 7d"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def letters_named(places: Sequence[Letters], ids: Sequence[str]) -> list[tuple[Letters, Letter]]:
    """Return letters by their ids, each with the place it lies in. Raises CommandFailed naming those that are not there."""
    by_name = {place.name: place for place in places}
    found: list[tuple[Letters, Letter]] = []
    missing: list[str] = []
    for letter_id in dict.fromkeys(ids):
        place = by_name[letter_id.partition("/")[0] if "/" in letter_id else letter_id.rpartition(":")[0]]
        letter = place.get(letter_id)
        if letter is None:
            missing.append(letter_id)
        else:
            found.append((place, letter))
    if missing:
        raise CommandFailed(f"not there, or settled before: {', '.join(missing)}")
    return found


def letters_wanted(places: Sequence[Letters], wanted: Wanted) -> list[tuple[Letters, Letter]]:
    """Return the letters something can be decided about, each with the place it lies in: copies of parked ones are left out."""
    found = [(place, letter) for place in places for letter in place.find(wanted)]
    copies = [letter for _, letter in found if is_copy(letter)]
    if copies:
        typer.echo(f"left out: {len(copies)} of which the topic has copies only, and a store the originals", err=True)
    return [(place, letter) for place, letter in found if not is_copy(letter)]


def check_choice(ids: Sequence[str], wanted: Wanted, *, all_: bool) -> None:
    """Raise BadParameter unless letters are chosen in one way: by ids, by filters, or all."""
    filtered = wanted != Wanted()
    if ids and (filtered or all_):
        raise typer.BadParameter("give either ids or filters")
    if not (ids or filtered or all_):
        raise typer.BadParameter("say which: ids, filters such as --topic, or --all")


def undecidable(letters: Sequence[Letter]) -> str:
    """Return why nothing can be decided about some of the letters where they lie; empty if about all of them something can."""
    alive = [letter.id for letter in letters if letter.state != "dead"]
    if alive:
        return f"not dead: {', '.join(alive)}; what waits goes on when the head of its key is settled"
    copies = [f"{letter.id} (parked in the store of {letter.handler})" for letter in letters if is_copy(letter)]
    return f"copies only, decide where the originals are: {', '.join(copies)}" if copies else ""


def is_copy(letter: Letter) -> bool:
    """Tell whether this lies on a topic, and its original in a store."""
    return letter.parked and "/" in letter.id
