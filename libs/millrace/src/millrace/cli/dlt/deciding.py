"""Carries out one decision about letters: tells how many they are, asks, acts, and tells what was done."""

import getpass
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import typer

from millrace.cli.dlt.choosing import undecidable
from millrace.cli.dlt.showing import count_of, print_json, reasons_table, summary_line
from millrace.cli.failures import CommandFailed
from millrace.cli.output import console
from millrace.dead_letters.letter import Letter, Letters
from millrace.errors import MillraceError

Verb: TypeAlias = Literal["redrive", "discard"]
_DONE = {"redrive": "redriven", "discard": "discarded"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of which letters, each with the place it lies in."""

    verb: Verb
    chosen: Sequence[tuple[Letters, Letter]]
    dry_run: bool
    yes: bool
    as_json: bool

    def carry_out(self) -> None:
        """Tell, ask, act, tell. Raises CommandFailed where something chosen cannot be decided, or a place fails under way."""
        letters = [letter for _, letter in self.chosen]
        if fault := undecidable(letters):
            raise CommandFailed(fault)
        if not self.as_json:
            typer.echo(summary_line(letters))
            if letters:
                console().print(reasons_table(letters))
        if letters and not (self.dry_run or self.yes):
            self._ask(letters)
        done = 0 if self.dry_run else self._act()
        if self.as_json:
            waiting = sum(letter.waiting for letter in letters)
            ids = [letter.id for letter in letters]
            print_json({"dry_run": self.dry_run, "letters": ids, "waiting": waiting, _DONE[self.verb]: done})
        elif self.dry_run:
            typer.echo("a dry run: nothing was changed")
        elif letters:
            others = f"; {len(letters) - done} settled by somebody else meanwhile" if done < len(letters) else ""
            typer.echo(f"{count_of(done, 'dead letter')} {_DONE[self.verb]}{others}")

    def _ask(self, letters: Sequence[Letter]) -> None:
        question = f"{self.verb} {count_of(len(letters), 'dead letter')}?"
        try:
            agreed = typer.confirm(question, err=True)
        except typer.Abort:
            raise CommandFailed("no answer, nothing was changed; --yes does not ask") from None
        if not agreed:
            raise CommandFailed("nothing was changed")

    def _act(self) -> int:
        done = 0
        for place in dict.fromkeys(place for place, _ in self.chosen):
            letters = [letter for where, letter in self.chosen if where is place]
            try:
                done += place.redrive(letters, _who()) if self.verb == "redrive" else place.discard(letters, _who())
            except MillraceError as error:
                before = f"{count_of(done, 'dead letter')} {_DONE[self.verb]}, then " if done else ""
                raise CommandFailed(f"{before}{error}") from error
        return done


def _who() -> str:
    """Return who decides: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a container's user need not have a name
    return f"{user}@{socket.gethostname()}"
