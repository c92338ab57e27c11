"""The result messages of a reservation, made from its state alone, so that a repeated command gets the same answer again."""

from inventory_service.domain.item import ItemState
from inventory_service.domain.reservation import Line, ReservationState, Status
from millrace.decision import Publish
from millrace.edge.validation import INT32_MAX
from shop.inventory.v1.inventory_messages_pb2 import (
    ItemChangedEvent,
    ShortLine,
    StockLine,
    StockReleasedEvent,
    StockReservedEvent,
    StockShippedEvent,
    StockShortEvent,
)
from shopkit.mapping import to_money, to_timestamp


def stock_lines(lines: tuple[Line, ...]) -> list[StockLine]:
    """Return lines as messages carry them."""
    return [StockLine(item_id=line.item_id, quantity=line.quantity) for line in lines]


def decided(state: ReservationState) -> Publish:
    """Return what a reserve command gets: reserved, or short; short with no item named if it was released before."""
    if state.status in (Status.RESERVED, Status.SHIPPED):
        at = to_timestamp(state.decided_at)
        return Publish(StockReservedEvent(order_id=state.order_id, lines=stock_lines(state.lines), reserved_at=at))
    short = [
        ShortLine(item_id=line.item_id, requested=min(line.requested, INT32_MAX), available=line.available)
        for line in (state.short if state.status is Status.SHORT else ())
    ]
    at = to_timestamp(state.updated_at)
    return Publish(StockShortEvent(order_id=state.order_id, short=short, decided_at=at))


def released(state: ReservationState) -> Publish:
    """Return what a release command gets: what it put back, which is nothing where nothing was set aside."""
    lines, at = stock_lines(state.put_back), to_timestamp(state.updated_at)
    return Publish(StockReleasedEvent(order_id=state.order_id, lines=lines, released_at=at))


def shipped(state: ReservationState) -> Publish:
    """Return what a ship command gets."""
    lines, at = stock_lines(state.lines), to_timestamp(state.shipped_at)
    return Publish(StockShippedEvent(order_id=state.order_id, lines=lines, shipped_at=at))


def item_changed(item_id: str, item: ItemState) -> Publish:
    """Return the message that tells others of a catalogue entry."""
    body = ItemChangedEvent(
        item_id=item_id,
        name=item.name,
        price=to_money(item.currency, item.price_minor),
        active=item.active,
        sequence=item.sequence,
        changed_at=to_timestamp(item.changed_at),
    )
    return Publish(body, sequence=item.sequence)
