"""Changes the catalogue and counts the shelf: what people do over the edge, and the first seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventory_service.application.answers import item_changed
from inventory_service.domain.item import ITEM, ItemSet, ItemState, StockSet, evolve
from millrace.decision import Context, Decision
from millrace.errors import NotFound


@dataclass(frozen=True, slots=True)
class SetItem:
    """Make the catalogue's entry this."""

    item_id: str
    name: str
    currency: str
    price_minor: int
    active: bool


@dataclass(frozen=True, slots=True)
class SetStock:
    """Make what is on hand this many pieces; what is reserved stays reserved."""

    item_id: str
    on_hand: int


@dataclass(frozen=True, slots=True)
class SeedItem:
    """An item of the first catalogue, with its stock."""

    item_id: str
    name: str
    currency: str
    price_minor: int
    on_hand: int


@dataclass(frozen=True, slots=True)
class SeedCatalogue:
    """Fill an empty catalogue."""

    items: tuple[SeedItem, ...]


class SetItemHandler:
    """Decides `SetItem`: the reply is the item's state. Nothing happens where the entry is so already."""

    def streams(self, body: SetItem) -> Sequence[str]:
        """Name the item."""
        return [ITEM.stream(body.item_id)]

    def decide(self, body: SetItem, states: Mapping[str, Any], context: Context) -> Decision:
        """Change the entry and tell others."""
        stream = ITEM.stream(body.item_id)
        state: ItemState = states[stream]
        known = (state.name, state.currency, state.price_minor, state.active)
        if state.exists and known == (body.name, body.currency, body.price_minor, body.active):
            return Decision(reply=state)
        event = ItemSet(body.name, body.currency, body.price_minor, body.active, context.now)
        after = evolve(state, event)
        return Decision(events=[(stream, event)], publish=[item_changed(body.item_id, after)], reply=after)


class SetStockHandler:
    """Decides `SetStock`: the reply is the item's state."""

    def streams(self, body: SetStock) -> Sequence[str]:
        """Name the item."""
        return [ITEM.stream(body.item_id)]

    def decide(self, body: SetStock, states: Mapping[str, Any], context: Context) -> Decision:
        """Set what is on hand. Raises NotFound for an item the catalogue does not hold."""
        stream = ITEM.stream(body.item_id)
        state: ItemState = states[stream]
        if not state.exists:
            raise NotFound(f"there is no item {body.item_id}")
        if state.on_hand == body.on_hand:
            return Decision(reply=state)
        event = StockSet(body.on_hand, context.now)
        return Decision(events=[(stream, event)], reply=evolve(state, event))


class SeedCatalogueHandler:
    """Decides `SeedCatalogue`: all items at once, or none if any is there already."""

    def streams(self, body: SeedCatalogue) -> Sequence[str]:
        """Name every item."""
        return [ITEM.stream(item.item_id) for item in body.items]

    def decide(self, body: SeedCatalogue, states: Mapping[str, Any], context: Context) -> Decision:
        """Fill the catalogue and tell others of each item."""
        if any(state.exists for state in states.values()):
            return Decision()
        events: list[tuple[str, object]] = []
        publish = []
        for item in body.items:
            stream = ITEM.stream(item.item_id)
            entry = ItemSet(item.name, item.currency, item.price_minor, True, context.now)
            events += [(stream, entry), (stream, StockSet(item.on_hand, context.now))]
            publish.append(item_changed(item.item_id, evolve(states[stream], entry)))
        return Decision(events=events, publish=publish)
