"""Ends a reservation: its stock is put back, or leaves the warehouse.

Both name an order only; which items are meant is read from its reservation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from inventory_service.application.answers import released, shipped
from inventory_service.domain.item import ITEM, StockReleased, StockShipped
from inventory_service.domain.reservation import (
    RESERVATION,
    ReservationReleased,
    ReservationShipped,
    ReservationState,
    Status,
    evolve,
    pieces,
)
from millrace.decision import Context, Decision
from millrace.edge.validation import Violations
from millrace.errors import Refused
from shop.inventory.v1.inventory_messages_pb2 import ReleaseStockCommand, ShipStockCommand


class _OfReservation:
    """What both share: the streams of a reservation and of the items it holds."""

    def streams(self, body: ReleaseStockCommand | ShipStockCommand) -> Sequence[str]:
        """Name the reservation."""
        return [RESERVATION.stream(body.order_id)]

    def more_streams(self, body: ReleaseStockCommand | ShipStockCommand, states: Mapping[str, Any]) -> Sequence[str]:
        """Name the items that are set aside now."""
        state: ReservationState = states[RESERVATION.stream(body.order_id)]
        if state.status is not Status.RESERVED:
            return []
        return [ITEM.stream(item_id) for item_id in pieces(state.lines)]


class ReleaseStock(_OfReservation):
    """Decides `ReleaseStockCommand`: answers StockReleasedEvent, always. It may come before the reservation, which is then refused."""

    def decide(self, body: ReleaseStockCommand, states: Mapping[str, Any], context: Context) -> Decision:
        """Put back what is set aside. Raises Refused for what has left the warehouse."""
        _check(body.order_id)
        stream = RESERVATION.stream(body.order_id)
        state: ReservationState = states[stream]
        if state.status is Status.SHIPPED:
            raise Refused(f"the stock of order {body.order_id} has left the warehouse")
        if state.status in (Status.RELEASED, Status.SHORT):
            return Decision(publish=[released(state)])
        event = ReservationReleased(body.order_id, context.now)
        back = [
            (ITEM.stream(item_id), StockReleased(body.order_id, count, context.now))
            for item_id, count in pieces(state.lines).items()
        ]
        return Decision(events=[(stream, event), *back], publish=[released(evolve(state, event))])


class ShipStock(_OfReservation):
    """Decides `ShipStockCommand`: answers StockShippedEvent, and the same again if asked again."""

    def decide(self, body: ShipStockCommand, states: Mapping[str, Any], context: Context) -> Decision:
        """Let what is set aside leave. Raises Refused if nothing is."""
        _check(body.order_id)
        stream = RESERVATION.stream(body.order_id)
        state: ReservationState = states[stream]
        if state.status is Status.SHIPPED:
            return Decision(publish=[shipped(state)])
        if state.status is not Status.RESERVED:
            raise Refused(f"nothing is set aside for order {body.order_id}")
        event = ReservationShipped(body.order_id, context.now)
        gone = [
            (ITEM.stream(item_id), StockShipped(body.order_id, count, context.now))
            for item_id, count in pieces(state.lines).items()
        ]
        return Decision(events=[(stream, event), *gone], publish=[shipped(evolve(state, event))])


def _check(order_id: str) -> None:
    found = Violations()
    found.uuid("order_id", order_id)
    found.raise_if_any()
