"""The catalogue as order knows it: told by inventory, folded by the greatest sequence. Pure."""

from dataclasses import dataclass

from millrace.decision import StreamType
from order_service.domain.order import NO_MONEY, Money


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """What a customer can order, and for how much a piece."""

    item_id: str = ""
    name: str = ""
    price: Money = NO_MONEY
    active: bool = False
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class ItemChanged:
    """Inventory told of an item."""

    item: CatalogueItem


def evolve_item(_: CatalogueItem, event: ItemChanged) -> CatalogueItem:
    """Return the item behind an event."""
    return event.item


CATALOGUE = StreamType("catalogue", CatalogueItem(), evolve_item, (ItemChanged,))
