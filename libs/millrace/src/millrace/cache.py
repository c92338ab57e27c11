"""A bounded cache in memory that is told of changes, for what is read often and changes rarely. One process's own; it knows no store.

Told of a change, by an event, it forgets what is older, and takes nothing older from then on: a reader that was under way meanwhile, or whose
database is behind, cannot put back what has gone.
"""

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

from cachetools import TTLCache
from prometheus_client import Counter, Gauge

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_REQUESTS = Counter("millrace_cache_requests_total", "Look-ups in a cache, by outcome", ["cache", "outcome"])
_ENTRIES = Gauge("millrace_cache_entries", "Entries in a cache, changes remembered included", ["cache"])
_CHANGES = Counter("millrace_cache_changes_total", "Changes a cache was told of that made it forget something older", ["cache"])


class Cache(Generic[K, V]):
    """Remembers at most `most` values, each for at most `keep_seconds`; beyond that the least recently used goes. Safe from any thread.

    `name` is the label of its metrics. Versions of a key's values are whole numbers that grow; where values never change, any will do.
    """

    def __init__(self, name: str, *, most: int, keep_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TTLCache[K, tuple[int, V | None]] = TTLCache(most, keep_seconds, clock)
        self._lock: Final = Lock()
        self._hits, self._misses = (_REQUESTS.labels(name, outcome) for outcome in ("hit", "miss"))
        self._size = _ENTRIES.labels(name)
        self._changes = _CHANGES.labels(name)

    def get(self, key: K) -> V | None:
        """Return a key's value, None if it is not remembered."""
        with self._lock:
            found = self._entries.get(key)
        if found is None or found[1] is None:
            self._misses.inc()
            return None
        self._hits.inc()
        return found[1]

    def put(self, key: K, value: V, version: int) -> None:
        """Remember a value, unless a later version is known of."""
        with self._lock:
            known = self._entries.get(key)
            if known is None or known[0] <= version:
                self._keep(key, version, value)

    def changed(self, key: K, version: int) -> None:
        """Forget what is older than this version of a key's value, and take nothing older."""
        with self._lock:
            known = self._entries.get(key)
            if known is None or known[0] < version:
                self._keep(key, version, None)
                self._changes.inc()

    def clear(self) -> None:
        """Forget everything: what changed meanwhile may have been missed."""
        with self._lock:
            self._entries.clear()
            self._size.set(0)

    def _keep(self, key: K, version: int, value: V | None) -> None:
        self._entries[key] = (version, value)
        self._size.set(len(self._entries))
