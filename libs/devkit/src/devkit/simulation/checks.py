"""What must hold once a simulated shop is at rest: every order final, money and stock conserved, each customer told each thing once."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from devkit.simulation.customers import Wish
from devkit.simulation.outside import Bank, Postbox, Van
from devkit.simulation.shop import Shop
from millrace.message import SEQUENCE
from millrace.store.sql import Row
from order_service.domain.order import Order, OrderStatus
from shipping_service.domain.booking import booking_key
from shopkit.topics import ORDER_EVENTS, SHIPPING_EVENTS

_ORDER = msgspec.json.Decoder(Order)
_FINAL = (OrderStatus.COMPLETED, OrderStatus.CANCELLED)
_SHOWN = 20
_COMPLETED = ({"order.created", "order.confirmed", "order.completed", "shipping.scheduled", "shipping.delivered"},
              {"order.created", "order.confirmed", "order.completed", "shipping.delayed", "shipping.delivered"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told of an order: how often each topic has a message of its own id, and each sequence of order.* once."""

    topics: Counter[str]
    sequences: list[int]


def unfit(shop: Shop, wishes: Sequence[Wish], bank: Bank, van: Van, postbox: Postbox) -> list[str]:
    """Return what does not hold, the first of each kind; empty if all is right."""
    orders = {
        order.order_id: order
        for order in (_ORDER.decode(row[0]) for row in _rows(shop, "order", "SELECT document FROM order_view"))
    }
    found = [
        *_first(_wishes_unfit(wishes, orders)),
        *_first(_money_unfit(shop, orders, bank)),
        *_first(_stock_unfit(shop, orders)),
        *_first(_shipments_unfit(shop, orders, van)),
        *_first(_telling_unfit(shop, orders, postbox)),
    ]
    dead = [topic for topic in shop.world.broker.topics() if topic.endswith(".dlt")]
    return [*found, *(f"{topic} holds dead letters" for topic in dead if shop.world.broker.records(topic))]


def _first(faults: Iterator[str]) -> list[str]:
    return [fault for fault, _ in zip(faults, range(_SHOWN), strict=False)]


def _wishes_unfit(wishes: Sequence[Wish], orders: Mapping[str, Order]) -> Iterator[str]:
    if {wish.order_id for wish in wishes} != orders.keys() or len(wishes) != len(orders):
        yield f"{len(wishes)} orders were accepted and {len(orders)} are held"
    for wish in wishes:
        order = orders.get(wish.order_id)
        if order is None:
            continue
        if order.status not in _FINAL:
            yield f"{order.order_id} is still {order.status}"
        if wish.cancelled and order.status is not OrderStatus.CANCELLED:
            yield f"{order.order_id} is {order.status} though its cancellation was accepted"


def _money_unfit(shop: Shop, orders: Mapping[str, Order], bank: Bank) -> Iterator[str]:
    kept = bank.kept()
    for order in orders.values():
        wanted = order.total.minor_units if order.status is OrderStatus.COMPLETED else 0
        if kept[order.order_id] != wanted:
            yield f"{order.order_id}, {order.status}: the bank kept {kept[order.order_id]}, not {wanted}"
    for order_id in kept.keys() - orders.keys():
        yield f"the bank has {order_id}, which is no order"
    for order_id, charged, refunded in _rows(shop, "payment", "SELECT order_id, charged_minor, refunded_minor FROM payment"):
        if charged - refunded != kept[order_id]:
            yield f"{order_id}: payment says {charged} - {refunded}, the bank {kept[order_id]}"


def _stock_unfit(shop: Shop, orders: Mapping[str, Order]) -> Iterator[str]:
    shipped: Counter[str] = Counter()
    for order in orders.values():
        if order.status is OrderStatus.COMPLETED:
            shipped.update({item.item_id: item.quantity for item in order.items})
    for item_id, on_hand, reserved, gone in _rows(shop, "inventory", "SELECT item_id, on_hand, reserved, shipped FROM item"):
        if (on_hand + reserved + gone, reserved, gone) != (shop.on_hand[item_id], 0, shipped[item_id]):
            yield f"{item_id}: {on_hand} on hand, {reserved} reserved, {gone} shipped of {shop.on_hand[item_id]}; sold {shipped[item_id]}"


def _shipments_unfit(shop: Shop, orders: Mapping[str, Order], van: Van) -> Iterator[str]:
    delivers = van.delivers()
    statuses: dict[str, str] = dict(_rows(shop, "shipping", "SELECT order_id, status FROM shipment"))
    for order in orders.values():
        completed = order.status is OrderStatus.COMPLETED
        if (booking_key(order.order_id) in delivers) != completed:
            yield f"{order.order_id}, {order.status}: the carrier {'does not deliver' if completed else 'delivers'}"
        if (statuses.get(order.order_id) == "delivered") != completed:
            yield f"{order.order_id}, {order.status}: shipment {statuses.get(order.order_id)}"


def _telling_unfit(shop: Shop, orders: Mapping[str, Order], postbox: Postbox) -> Iterator[str]:
    facts = _facts(shop)
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for order_id, kind, channel, notification_id, sent_at in _rows(
        shop, "notification", "SELECT order_id, kind, channel, notification_id, sent_at FROM notification"
    ):
        made[order_id][kind.replace("_", ".", 1)] += 1
        if sent_at is None or (channel == "email") != (notification_id in postbox.mails):
            yield f"{order_id}: notification {kind} by {channel}, sent at {sent_at}"
    counted: dict[str, int] = dict(_rows(shop, "analytics", "SELECT order_id, messages FROM order_fact"))
    for order in orders.values():
        told = facts[order.order_id]
        if max(told.topics.values()) > 1 or sorted(told.sequences) != list(range(1, len(told.sequences) + 1)):
            yield f"{order.order_id}: told {dict(told.topics)}, sequences {sorted(told.sequences)}"
        if not _fits(set(told.topics), order.status):
            yield f"{order.order_id} is {order.status}, and told are {sorted(told.topics)}"
        if made[order.order_id] != told.topics:
            yield f"{order.order_id}: the customer was told {dict(made[order.order_id])}, and happened {dict(told.topics)}"
        if counted.get(order.order_id) != told.topics.total():
            yield f"{order.order_id}: analytics counts {counted.get(order.order_id)} of {told.topics.total()} messages"


def _fits(topics: set[str], status: OrderStatus) -> bool:
    """Say whether these topics tell of an order that ended so. A parcel booked too late is called back, and may have been told of."""
    if status is OrderStatus.COMPLETED:
        return topics in _COMPLETED
    needed = {"order.created", "order.cancelled"}
    possible = {"order.confirmed", "shipping.failed", "shipping.scheduled", "shipping.delayed"}
    return needed <= topics <= needed | possible


def _facts(shop: Shop) -> Mapping[str, _Told]:
    facts: dict[str, _Told] = defaultdict(lambda: _Told(Counter(), []))
    for topic in (*ORDER_EVENTS, *SHIPPING_EVENTS):
        seen: set[bytes | None] = set()
        for record in shop.world.broker.records(topic):
            headers = dict(record.headers)
            if headers["ce_id"] in seen:
                continue
            seen.add(headers["ce_id"])
            told = facts[(record.key or b"").decode()]
            told.topics[topic] += 1
            if topic in ORDER_EVENTS:
                told.sequences.append(int(headers[SEQUENCE] or b"0"))
    return facts


def _rows(shop: Shop, service: str, query: str) -> list[Row]:
    return shop.services[service].read(lambda sql: sql.execute(query))
