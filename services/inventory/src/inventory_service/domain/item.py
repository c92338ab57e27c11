"""An item of the catalogue and its stock: one stream an item.

The sum of what is on hand, reserved and shipped changes by `StockSet` alone.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from millrace.decision import StreamType

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ItemState:
    """An item; `sequence` counts the changes of its catalogue entry, and is 0 while there is no such item."""

    name: str = ""
    currency: str = ""
    price_minor: int = 0
    active: bool = False
    sequence: int = 0
    on_hand: int = 0
    reserved: int = 0
    shipped: int = 0
    changed_at: datetime = _NEVER
    moved_at: datetime = _NEVER

    @property
    def exists(self) -> bool:
        """Say whether the catalogue holds it."""
        return self.sequence > 0


@dataclass(frozen=True, slots=True)
class ItemSet:
    """The catalogue entry is new or changed."""

    name: str
    currency: str
    price_minor: int
    active: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class StockSet:
    """The shelf was counted."""

    on_hand: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StockReserved:
    """Pieces were set aside for an order."""

    order_id: str
    quantity: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StockReleased:
    """Pieces set aside for an order were put back."""

    order_id: str
    quantity: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StockShipped:
    """Pieces set aside for an order left the warehouse."""

    order_id: str
    quantity: int
    at: datetime


ItemEvent: TypeAlias = ItemSet | StockSet | StockReserved | StockReleased | StockShipped


def evolve(state: ItemState, event: ItemEvent) -> ItemState:
    """Return the item after an event."""
    match event:
        case ItemSet(name, currency, price_minor, active, at):
            moved_at = state.moved_at if state.exists else at
            return replace(
                state,
                name=name,
                currency=currency,
                price_minor=price_minor,
                active=active,
                sequence=state.sequence + 1,
                changed_at=at,
                moved_at=moved_at,
            )
        case StockSet(on_hand, at):
            return replace(state, on_hand=on_hand, moved_at=at)
        case StockReserved(_, quantity, at):
            return replace(state, on_hand=state.on_hand - quantity, reserved=state.reserved + quantity, moved_at=at)
        case StockReleased(_, quantity, at):
            return replace(state, on_hand=state.on_hand + quantity, reserved=state.reserved - quantity, moved_at=at)
        case StockShipped(_, quantity, at):
            return replace(state, reserved=state.reserved - quantity, shipped=state.shipped + quantity, moved_at=at)


ITEM = StreamType("item", ItemState(), evolve, (ItemSet, StockSet, StockReserved, StockReleased, StockShipped))
