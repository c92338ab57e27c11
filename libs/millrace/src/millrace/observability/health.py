"""What this process knows of its dependencies: reported by whoever talks to them, read by the edge and by metrics."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Part:
    """One dependency: whether it is there, and if not, why."""

    ok: bool
    reason: str = ""


Listener: TypeAlias = Callable[[str, Part], None]


class Health:
    """The state of each dependency by name. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._listeners: tuple[Listener, ...] = ()

    def report(self, name: str, ok: bool, reason: str = "") -> None:
        """Set the state of one dependency; listeners are called on this thread, and only when `ok` or `reason` changed."""
        part = Part(ok, "" if ok else reason)
        with self._lock:
            if self._parts.get(name) == part:
                return
            self._parts[name] = part
            listeners = self._listeners
        for listener in listeners:
            listener(name, part)

    def snapshot(self) -> Mapping[str, Part]:
        """Return the state of every dependency reported so far."""
        with self._lock:
            return dict(self._parts)

    def listen(self, callback: Listener) -> None:
        """Call `callback(name, part)` after every change from now on. It must be quick and must not raise."""
        with self._lock:
            self._listeners = (*self._listeners, callback)
