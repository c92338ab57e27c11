"""Applies the numbered SQL files of a folder by yoyo, each once, under a lock that the caller holds.

yoyo's own lock is a row, which a process that is killed leaves behind for ever; the stores hold one that ends with its holder.

Files only add (tables, columns with defaults, indexes): the previous version of a service goes on working on the new schema, so that a
rolling upgrade is possible.
"""

import logging
from pathlib import Path

from yoyo import get_backend, read_migrations

LIBRARY = Path(__file__).parent / "migrations"


def apply(url: str, dialect: str, folders: tuple[Path, ...]) -> None:
    """Bring a database up to date: the library's tables, then each folder's. A folder may hold one sub-folder a dialect.

    Called by one process at a time, with yoyo's lock removed.
    """
    logging.getLogger("yoyo").setLevel(logging.WARNING)
    backend = get_backend(url)
    try:
        with backend.lock():
            for folder in (LIBRARY, *folders):
                own = folder / dialect
                migrations = read_migrations(str(own if own.is_dir() else folder))
                backend.apply_migrations(backend.to_apply(migrations))
    finally:
        backend.connection.close()
