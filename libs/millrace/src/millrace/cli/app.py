"""Puts the `millrace` command together: the library's own commands, and those of the packages that are installed, which it does not know."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from millrace.cli.dlt import commands as dlt
from millrace.cli.one_line import OneLineGroup
from millrace.cli.rebuild import rebuild

GROUP = "millrace.commands"


def load_app(found: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """Return the command with those of every installed package.

    An entry point of the group `millrace.commands` names a function without parameters that returns a `typer.Typer`; its commands
    and groups join at the top. One that cannot be loaded is named on stderr, and the others work.
    """
    app = typer.Typer(
        cls=OneLineGroup,
        help="Place and follow orders, look into what every service holds, read sagas, decide about dead letters, and rebuild.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.add_typer(dlt.commands(), name="dlt")
    app.command("rebuild")(rebuild)
    for entry in entry_points(group=GROUP) if found is None else found:
        try:
            app.add_typer(entry.load()())
        except Exception as error:  # noqa: BLE001 - a package that is broken must not take the other commands away
            typer.echo(f"warning: the commands of {entry.value} cannot be loaded: {error}", err=True)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"millrace {version('millrace')}")
        raise typer.Exit


def _options(
    _version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Hold what comes before the command."""
