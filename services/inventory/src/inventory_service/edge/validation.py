"""Checks of inventory's requests; each raises Invalid that names every field at fault."""

from millrace.edge.validation import Violations
from shop.inventory.v1 import inventory_service_pb2 as pb

MOST_ON_HAND = 1_000_000_000_000


def check_item_id(item_id: str) -> None:
    """Check an item's id."""
    found = Violations()
    found.text("item_id", item_id)
    found.raise_if_any()


def check_order_id(order_id: str) -> str:
    """Return an order's id in its one spelling."""
    found = Violations()
    found.uuid("order_id", order_id)
    found.raise_if_any()
    return order_id.lower()


def check_set_stock(request: pb.SetStockRequest) -> None:
    """Check a count of the shelf; the limit leaves room for what comes back from reservations."""
    found = Violations()
    found.text("item_id", request.item_id)
    found.check("on_hand", 0 <= request.on_hand <= MOST_ON_HAND, f"must be from 0 to {MOST_ON_HAND}")
    found.raise_if_any()


def check_set_item(request: pb.SetItemRequest) -> None:
    """Check an entry of the catalogue."""
    found = Violations()
    found.text("item_id", request.item_id)
    found.text("name", request.name)
    if found.check("price", request.HasField("price"), "must be set"):
        found.money("price", request.price.currency, request.price.minor_units)
    found.raise_if_any()


def page(request: pb.ListStockRequest | pb.ListItemsRequest) -> tuple[int, str]:
    """Return the page's size and the id it begins behind."""
    found = Violations()
    size = found.page_size("page_size", request.page_size)
    after = found.page_token("page_token", request.page_token)
    found.raise_if_any()
    return size, after or ""
