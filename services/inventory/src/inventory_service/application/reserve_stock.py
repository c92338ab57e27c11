"""Sets stock aside for an order: all of it or nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from inventory_service.application.answers import decided
from inventory_service.domain.item import ITEM, ItemState, StockReserved
from inventory_service.domain.reservation import (
    RESERVATION,
    Line,
    ReservationMade,
    ReservationRefused,
    ReservationState,
    Shortage,
    Status,
    evolve,
    pieces,
)
from millrace.decision import Context, Decision
from millrace.edge.validation import Violations
from shop.inventory.v1.inventory_messages_pb2 import ReserveStockCommand
from shopkit.content import check_lines


class ReserveStock:
    """Decides `ReserveStockCommand`: answers StockReservedEvent or StockShortEvent, and the same again if asked again."""

    def streams(self, body: ReserveStockCommand) -> Sequence[str]:
        """Name the reservation, and the items it is made of. Raises Invalid where the command makes no sense: no name of that is looked up."""
        _check(body)
        return [RESERVATION.stream(body.order_id), *sorted({ITEM.stream(line.item_id) for line in body.items})]

    def decide(self, body: ReserveStockCommand, states: Mapping[str, Any], context: Context) -> Decision:
        """Reserve, refuse, or repeat the answer."""
        stream = RESERVATION.stream(body.order_id)
        known: ReservationState = states[stream]
        if known.status is not Status.NONE:
            return Decision(publish=[decided(known)])
        lines = tuple(Line(line.item_id, line.quantity) for line in body.items)
        wanted = pieces(lines)
        short = _short(wanted, states)
        event: ReservationMade | ReservationRefused
        moved: list[tuple[str, object]] = []
        if short:
            event = ReservationRefused(body.order_id, lines, short, context.now)
        else:
            event = ReservationMade(body.order_id, lines, context.now)
            moved = [(ITEM.stream(item), StockReserved(body.order_id, count, context.now)) for item, count in wanted.items()]
        return Decision(events=[(stream, event), *moved], publish=[decided(evolve(known, event))])


def _short(wanted: Mapping[str, int], states: Mapping[str, Any]) -> tuple[Shortage, ...]:
    """Return the items there is too little of; of an unknown item there is nothing."""
    found: list[Shortage] = []
    for item_id, count in wanted.items():
        item: ItemState = states[ITEM.stream(item_id)]
        if item.on_hand < count:
            found.append(Shortage(item_id, count, item.on_hand))
    return tuple(found)


def _check(body: ReserveStockCommand) -> None:
    found = Violations()
    found.uuid("order_id", body.order_id)
    check_lines(found, "items", body.items)
    found.raise_if_any()
