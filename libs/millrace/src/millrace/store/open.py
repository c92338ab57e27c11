"""Opens a store by its address: `sqlite:///path`, `postgresql://...` or `memory://`."""

from pathlib import Path

from millrace.store.contract import Store
from millrace.store.postgres import PostgresStore
from millrace.store.sqlite import SqliteStore


def open_store(url: str, application: str = "millrace") -> Store:
    """Return the store at `url`. Raises ValueError for an address of another kind. Nothing is connected yet."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        return PostgresStore(url, application)
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteStore(Path(rest[1:]))
    if url == "memory://":
        return SqliteStore(None)
    raise ValueError(f"a store address is sqlite:///path, postgresql://... or memory://, not {scheme!r}")
