"""Keeps the catalogue up to date from inventory's `item.changed`."""

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.decision import Context, Decision
from millrace.errors import PermanentError
from order_service.domain.catalogue import CATALOGUE, CatalogueItem, ItemChanged
from order_service.domain.order import Money
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent


class FollowCatalogue:
    """Decides `ItemChangedEvent`."""

    def streams(self, body: ItemChangedEvent) -> Sequence[str]:
        """See `Handler`."""
        return (CATALOGUE.stream(body.item_id),)

    def decide(self, body: ItemChangedEvent, states: Mapping[str, Any], context: Context) -> Decision:
        """Take the item over, unless a later change is known. Raises PermanentError for an impossible price."""
        stream = CATALOGUE.stream(body.item_id)
        if body.price.minor_units < 0 or len(body.price.currency) != 3 or body.sequence < 1:
            raise PermanentError(f"item {body.item_id!r} has an impossible price or sequence")
        if body.sequence <= states[stream].sequence:
            return Decision()
        price = Money(body.price.currency, body.price.minor_units)
        return Decision([(stream, ItemChanged(CatalogueItem(body.item_id, body.name, price, body.active, body.sequence)))])
