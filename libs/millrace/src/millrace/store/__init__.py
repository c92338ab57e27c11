"""Where a service keeps everything it must not lose, in one database, so that one transaction covers it all."""

from millrace.store.contract import Session, Store, Transaction
from millrace.store.open import open_store

__all__ = ["Session", "Store", "Transaction", "open_store"]
