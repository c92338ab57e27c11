"""Keeps the table `order_fact`, one row an order, from which every number is counted."""

from collections.abc import Mapping, Sequence

from analytics_service.domain.timeline import TimelineState
from millrace.clock import duration_micros
from millrace.pipeline.staging import Change
from millrace.store.sql import ColumnType, Sql

_FACT: Mapping[str, ColumnType] = {
    "order_id": "text", "status": "text", "currency": "text", "amount_minor": "bigint", "reason": "text", "is_delayed": "bigint",
    "duration": "bigint", "shipping": "text", "messages": "bigint",
}  # fmt: skip
_LISTED = ", ".join(_FACT)
_UPSERT = (
    f"INSERT INTO order_fact ({_LISTED}) SELECT {_LISTED} FROM rows WHERE true ON CONFLICT (order_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _FACT if name != "order_id")
)


class ReadModel:
    """Writes the last state of each order a batch touched, in one statement."""

    tables = ("order_fact",)

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        """See `Projection`."""
        last: dict[str, TimelineState] = {change.stream: change.state for change in changes}
        sql.each(_UPSERT, _FACT, [_row(state) for state in last.values()])


def _row(state: TimelineState) -> tuple[object, ...]:
    duration = state.duration
    return (
        state.order_id,
        state.status.value if state.status else None,
        state.currency,
        state.amount_minor,
        state.reason,
        int(state.delayed),
        None if duration is None else duration_micros(duration),
        state.shipping.value if state.shipping else None,
        state.messages,
    )
