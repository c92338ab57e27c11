"""Checks requests and turns them into commands: every field at fault is named, and nothing is stored or sent."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from uuid import NAMESPACE_URL, uuid5

from millrace.edge.validation import Violations
from order_service.application.ports import Catalogue
from order_service.domain.catalogue import CatalogueItem
from order_service.domain.commands import PlaceOrder
from order_service.domain.order import Money, OrderItem
from shop.order.v1 import order_service_pb2 as wire

_ORDERS = uuid5(NAMESPACE_URL, "https://millrace.dev/shop/orders")
_MAX_LINES = 100


def order_id_of(customer_id: str, idempotency_key: str) -> str:
    """Return the id of the order that a customer places under a key: the same for the same two."""
    return str(uuid5(_ORDERS, f"{customer_id.lower()}/{idempotency_key}"))


def check_place_order(request: wire.PlaceOrderRequest) -> PlaceOrder:
    """Return the command a request means, its items not named yet. Raises Invalid with every field at fault.

    It asks no catalogue: what an order was and costs is fixed once it is placed, and the same request again must be known as such.
    """
    violations = Violations()
    violations.uuid("customer_id", request.customer_id)
    violations.text("idempotency_key", request.idempotency_key)
    if violations.not_empty("items", request.items, max_items=_MAX_LINES):
        _check_lines(request, violations)
    violations.raise_if_any()
    items = tuple(OrderItem(line.item_id, "", line.quantity, line.price.minor_units) for line in request.items)
    total = Money(request.items[0].price.currency, sum(item.quantity * item.price_minor for item in items))
    customer_id = request.customer_id.lower()
    return PlaceOrder(
        order_id_of(customer_id, request.idempotency_key), customer_id, items, total, _fingerprint(customer_id, items, total)
    )


async def check_offer(command: PlaceOrder, catalogue: Catalogue) -> PlaceOrder:
    """Return the command with its items named. Raises Invalid where an item or its price is not what the catalogue says now.

    Raises Unavailable while no catalogue is known.
    """
    known = await catalogue.find([item.item_id for item in command.items])
    violations = Violations()
    _check_catalogue(command, known, violations)
    violations.raise_if_any()
    return replace(command, items=tuple(replace(item, name=known[item.item_id].name) for item in command.items))


def check_order_id(order_id: str) -> str:
    """Return an order id in its one spelling. Raises Invalid if it is no UUID."""
    violations = Violations()
    violations.uuid("order_id", order_id)
    violations.raise_if_any()
    return order_id.lower()


def _check_lines(request: wire.PlaceOrderRequest, violations: Violations) -> None:
    sound = True
    for number, line in enumerate(request.items):
        field = f"items[{number}]"
        sound = violations.text(f"{field}.item_id", line.item_id) and sound
        sound = violations.quantity(f"{field}.quantity", line.quantity) and sound
        sound = violations.money(f"{field}.price", line.price.currency, line.price.minor_units) and sound
    currencies = [(f"items[{number}].price.currency", line.price.currency) for number, line in enumerate(request.items)]
    if sound and violations.one_currency(currencies[1:], request.items[0].price.currency):
        violations.total("items", [(line.quantity, line.price.minor_units) for line in request.items])
    seen: set[str] = set()
    for number, line in enumerate(request.items):
        violations.check(f"items[{number}].item_id", line.item_id not in seen, "must not appear twice")
        seen.add(line.item_id)


def _check_catalogue(command: PlaceOrder, known: Mapping[str, CatalogueItem], violations: Violations) -> None:
    for number, line in enumerate(command.items):
        field = f"items[{number}]"
        item = known.get(line.item_id)
        if item is None or not item.active:
            violations.add(f"{field}.item_id", f"there is no item {line.item_id!r}")
            continue
        offered = Money(command.total.currency, line.price_minor)
        violations.check(
            f"{field}.price", offered == item.price, f"is {item.price.minor_units} {item.price.currency} minor units now"
        )


def _fingerprint(customer_id: str, items: tuple[OrderItem, ...], total: Money) -> str:
    """Hash the checked fields; serialised protobuf would not do, being not canonical."""
    fields = [customer_id, total.currency, [[item.item_id, item.quantity, item.price_minor] for item in items]]
    return sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
