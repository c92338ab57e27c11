"""`millrace dlt list|show|redrive|discard`: look at dead letters, and decide about them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import typer

from millrace.cli.dlt.choosing import STATES, check_choice, letters_named, letters_wanted, read_state, read_time
from millrace.cli.dlt.deciding import Decision, Verb
from millrace.cli.dlt.places import Asked, open_places
from millrace.cli.dlt.showing import letter_json, letter_lines, letters_table, print_json
from millrace.cli.failures import CommandFailed
from millrace.cli.output import console
from millrace.cli.running import failures_told
from millrace.dead_letters.letter import Wanted
from millrace.errors import MillraceError, NotFound

Store: TypeAlias = Annotated[str, typer.Option(help="Address of a store, sqlite:///path or postgresql://...")]
Service: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Service whose store it is, at MILLRACE_<SERVICE>_STORE_URL; several times for several.")
]
From: TypeAlias = Annotated[
    list[str] | None, typer.Option("--from", help="Dead letter topic to read, such as payment.request.dlt.")
]
Handler: TypeAlias = Annotated[str, typer.Option(help="Only of this consumer group or plain handler.")]
Topic: TypeAlias = Annotated[str, typer.Option(help="Only from this topic.")]
Key: TypeAlias = Annotated[str, typer.Option(help="Only of this key.")]
Type: TypeAlias = Annotated[str, typer.Option("--type", help="Only of this message type, in full or its last part.")]
Reason: TypeAlias = Annotated[str, typer.Option(help="Only where the reason has this in it.")]
Since: TypeAlias = Annotated[str, typer.Option(help="Only from this time on: 2026-01-31T12:00 (UTC), or an age such as 2h.")]
Until: TypeAlias = Annotated[str, typer.Option(help="Only before this time, given likewise.")]
Limit: TypeAlias = Annotated[int, typer.Option(min=1, help="How many at most.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Ids: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of letters, as `list` shows them.")]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every dead letter, where no id and no filter says which.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Count and show, and change nothing.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def commands() -> typer.Typer:
    """Return the group."""
    dlt = typer.Typer(help="Look at dead letters, and decide what becomes of them.", no_args_is_help=True)
    dlt.command("list")(list_)
    dlt.command("show")(show)
    dlt.command("redrive")(_deciding("redrive", "Have dead letters tried again, each key's in order."))
    dlt.command("discard")(_deciding("discard", "Give dead letters up, and let go on what waits behind them."))
    return dlt


def list_(
    store: Store = "",
    service: Service = None,
    from_: From = None,
    handler: Handler = "",
    topic: Topic = "",
    key: Key = "",
    type_: Type = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    state: Annotated[str, typer.Option(help=f"Which: {', '.join(STATES)}.")] = "dead",
    limit: Limit = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first, with how many messages each holds up."""
    wanted = Wanted(
        state=read_state(state), handler=handler, topic=topic, key=key, type=type_, reason=reason,
        since=read_time(since), until=read_time(until),
    )  # fmt: skip
    with _told(), open_places(Asked(store=store, services=service or (), topics=from_ or ()), ()) as places:
        found = [letter for place in places for letter in place.find(wanted, limit + 1)]
    shown = found[:limit]
    if as_json:
        print_json([letter_json(letter) for letter in shown])
        return
    console().print(letters_table(shown))
    if len(found) > limit:
        typer.echo(f"there are more than these {limit}: --limit shows more", err=True)


def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="Id of a letter, as `list` shows it.")],
    store: Store = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show one letter whole: where it stood, why it died, its headers and bytes."""
    with _told(), open_places(Asked(store=store), [letter]) as places:
        ((_, found),) = letters_named(places, [letter])
    print_json(letter_json(found, whole=True)) if as_json else typer.echo(letter_lines(found))


def _deciding(verb: Verb, about: str) -> Callable[..., None]:
    """Return the command that decides one way about letters chosen by ids or filters, having told how many they are."""

    def decide(
        ids: Ids = None,
        store: Store = "",
        service: Service = None,
        from_: From = None,
        handler: Handler = "",
        topic: Topic = "",
        key: Key = "",
        type_: Type = "",
        reason: Reason = "",
        since: Since = "",
        until: Until = "",
        *,
        all_: All = False,
        dry_run: DryRun = False,
        yes: Yes = False,
        as_json: AsJson = False,
    ) -> None:
        wanted = Wanted(
            handler=handler, topic=topic, key=key, type=type_, reason=reason, since=read_time(since), until=read_time(until)
        )  # fmt: skip
        check_choice(ids or (), wanted, all_=all_)
        with _told(), open_places(Asked(store=store, services=service or (), topics=from_ or ()), ids or ()) as places:
            chosen = letters_named(places, ids) if ids else letters_wanted(places, wanted)
            decision = Decision(verb, chosen, dry_run=dry_run, yes=yes, as_json=as_json)
            decision.carry_out()

    decide.__doc__ = about
    return decide


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line what kept a command from its work: exit code 2 where there is no such topic, else 1."""
    with failures_told():
        try:
            yield
        except NotFound as missing:
            raise typer.BadParameter(str(missing)) from missing
        except MillraceError as error:
            raise CommandFailed(str(error)) from error
