"""What the relay is told to hold back counts as held until it goes out."""

from dataclasses import replace

from devkit.outbox import row
from millrace.outbox.config import RelayConfig
from millrace.outbox.holds import Holds


def test_a_refused_message_that_is_tried_again_counts_until_it_has_gone_out() -> None:
    holds = Holds(RelayConfig(refused_seconds=0))
    first, second = (replace(row("t", key, number), id=number) for number, key in enumerate(("k", None), start=1))
    for refused in (first, second):
        holds.refuse(refused, "too large")
    assert (holds.lanes, holds.ids, holds.blocking) == ({("t", b"k")}, [2], 2)
    holds.try_refused()
    assert (holds.lanes, holds.ids, holds.blocking) == (set(), [], 2)
    holds.gone([1])
    assert holds.blocking == 1
    holds.refuse(second, "too large")
    assert holds.blocking == 1
