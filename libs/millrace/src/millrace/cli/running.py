"""Runs what a command does, and turns failures into an exit code."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from millrace.cli.failures import CommandFailed

T = TypeVar("T")
INTERRUPTED = 130


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns. CommandFailed becomes a line on stderr and exit code 1, Ctrl-C exit code 130."""
    try:
        return asyncio.run(work)
    except CommandFailed as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
