"""`millrace rebuild SERVICE`: makes what a service shows, or all it has recorded, anew, while the service runs or stands still.

The services that can be rebuilt are entry points of the group `millrace.rebuildable`, each a function without parameters that returns a
`Rebuildable`; the library knows none of them.
"""

import os
import sqlite3
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from millrace.cli.dlt.places import kafka_settings, known_stores
from millrace.cli.failures import CommandFailed
from millrace.cli.running import failures_told
from millrace.errors import MillraceError
from millrace.rebuild.read_models import rebuild_read_models
from millrace.rebuild.rebuildable import Rebuildable
from millrace.rebuild.records import rebuild_records
from millrace.store.contract import Store
from millrace.store.open import open_store

GROUP = "millrace.rebuildable"


class Source(StrEnum):
    """What a service is made anew from."""

    KAFKA = "kafka"
    EVENTS = "events"


def rebuild(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Service to rebuild, such as analytics.")],
    store: Annotated[
        str, typer.Option(help="Address of its store; else MILLRACE_<SERVICE>_STORE_URL or MILLRACE_STORE_URL.")
    ] = "",
    source: Annotated[
        Source | None,
        typer.Option("--from", help="kafka: everything it recorded. events: its read models. The first where it can be."),
    ] = None,
    *,
    accept_less: Annotated[bool, typer.Option(help="Also if Kafka no longer has all that is recorded.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a service's data anew beside what is there, and swap the two. The service may run; readers are served throughout."""
    with failures_told():
        plan = _plan(service)
        chosen = source or (Source.KAFKA if plan.topics else Source.EVENTS)
        if chosen is Source.KAFKA and not plan.topics:
            raise typer.BadParameter(f"{service} does more than follow topics: only --from events is possible")
        opened = _open(service, store)
        try:
            if not yes:
                typer.confirm(f"Make {_what(chosen, service)} anew from {chosen}?", abort=True)
            typer.echo(_rebuilt(opened, plan, chosen, accept_less=accept_less))
        except (MillraceError, psycopg.Error, sqlite3.Error) as error:
            raise CommandFailed(f"nothing has changed: {error}") from error
        finally:
            opened.close()


def _rebuilt(store: Store, plan: Rebuildable, source: Source, *, accept_less: bool) -> str:
    if source is Source.EVENTS:
        events = rebuild_read_models(store, plan.handlers.stream_types, plan.projections)
        return f"read models rebuilt from {events} events"
    made = rebuild_records(store, kafka_settings(), plan, accept_less=accept_less)
    return f"rebuilt from {made.records} records: {made.events} events in {made.streams} streams"


def _what(source: Source, service: str) -> str:
    return f"all that {service} recorded" if source is Source.KAFKA else f"the read models of {service}"


def _plan(service: str) -> Rebuildable:
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if service not in known:
        raise typer.BadParameter(f"{service!r} cannot be rebuilt; there are: {', '.join(sorted(known)) or 'none'}")
    plan: Rebuildable = known[service].load()()
    return plan


def _open(service: str, store: str) -> Store:
    stores = known_stores(os.environ)
    url = store or stores.get(service) or stores.get("store", "")
    if not url:
        raise typer.BadParameter(f"no store is named: give --store, or set MILLRACE_{service.upper()}_STORE_URL")
    if url == "memory://":
        raise typer.BadParameter("a store in memory is its own process's")
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise typer.BadParameter(f"there is no store at {url.removeprefix('sqlite:///')}")
    try:
        return open_store(url, "millrace rebuild")
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from None
