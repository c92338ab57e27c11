"""Says in one line what is wrong with the words of a command, in place of a usage page; the exit code stays 2."""

from typing import Any

import typer
from typer.core import TyperGroup

_MISUSE: type[Any] = typer.BadParameter.__mro__[1]  # typer's UsageError, which it does not export


class OneLineGroup(TyperGroup):
    """A group of commands, itself the outermost, that answers wrong words with one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run what was asked for. A group that was given no command still shows its help."""
        try:
            return super().invoke(ctx)
        except _MISUSE as misuse:
            if type(misuse).__name__ == "NoArgsIsHelpError":
                raise
            text = " ".join(misuse.format_message().split()).removeprefix("Invalid value: ")
            typer.echo(f"error: {text}", err=True)
            raise typer.Exit(2) from None
