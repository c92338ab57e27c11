"""Runs what a command does, and turns failures into an exit code."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from millrace.cli.failures import CommandFailed

T = TypeVar("T")
INTERRUPTED = 130


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns; see `failures_told`."""
    with failures_told():
        return asyncio.run(work)


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn CommandFailed into a line on stderr and exit code 1, Ctrl-C into exit code 130."""
    try:
        yield
    except CommandFailed as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
