"""Case 15: of N writers that append to one stream at once, one wins each version, and the others are told."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from millrace.errors import VersionConflict
from millrace.eventstore.events import Append, NewEvent
from millrace.store.open import open_store

_WRITERS = 8
_ROUNDS = 12


def test_of_many_writers_of_one_stream_one_wins_each_version(postgres_url: Callable[[], str]) -> None:
    store = open_store(postgres_url())
    store.migrate()
    together = threading.Barrier(_WRITERS, timeout=60)

    def write(writer: int) -> list[str]:
        """Append as if alone in each round, without looking first; return what came of each attempt."""
        session = store.session()
        came: list[str] = []
        for version in range(_ROUNDS):
            together.wait()
            event = NewEvent("Counted", f'{{"by": {writer}}}')
            try:
                with session.transaction() as tx:
                    tx.events.append([Append("counter-1", version, [event], f"state of {writer}", 1)], 1)
                came.append("won")
            except VersionConflict:
                came.append("lost")
        session.close()
        return came

    with ThreadPoolExecutor(_WRITERS) as threads:
        came = list(threads.map(write, range(_WRITERS)))
    winners = [[writer for writer in range(_WRITERS) if came[writer][version] == "won"] for version in range(_ROUNDS)]
    assert [len(found) for found in winners] == [1] * _ROUNDS
    session = store.session()
    with session.transaction() as tx:
        events = tx.events.read("counter-1")
        stored = tx.events.load(["counter-1"])["counter-1"]
    session.close()
    store.close()
    assert [event.version for event in events] == list(range(1, _ROUNDS + 1))
    assert [event.data for event in events] == [f'{{"by": {found[0]}}}' for found in winners]
    assert (stored.version, stored.state) == (_ROUNDS, f"state of {winners[-1][0]}")
