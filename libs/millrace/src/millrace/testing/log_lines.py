"""Catches log lines as a service writes them, for tests of what lines carry."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millrace.observability.logs import EcsFormatter


class LogLines:
    """The ECS lines written so far, of every logger, oldest first."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self.handler = logging.StreamHandler(self._text)
        self.handler.setFormatter(EcsFormatter("test", "1"))

    def all(self) -> list[dict[str, Any]]:
        """Return every line, parsed."""
        return [json.loads(line) for line in self._text.getvalue().splitlines()]

    def about(self, *, key: str) -> list[dict[str, Any]]:
        """Return the lines about messages of this key."""
        return [line for line in self.all() if line.get("labels", {}).get("message_key") == key]

    def saying(self, message: str) -> list[dict[str, Any]]:
        """Return the lines with this sentence."""
        return [line for line in self.all() if line["message"] == message]


@contextmanager
def log_lines(level: int = logging.INFO) -> Iterator[LogLines]:
    """Catch lines of at least `level` until the block ends."""
    root, lines = logging.getLogger(), LogLines()
    before = root.level
    root.addHandler(lines.handler)
    root.setLevel(level)
    try:
        yield lines
    finally:
        root.removeHandler(lines.handler)
        root.setLevel(before)
