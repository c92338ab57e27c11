"""Writes proto/testdata/: for every message type one message as it stands on the wire, and keys with their hashes and partitions.

    tools/golden_vectors.py           write the files
    tools/golden_vectors.py --check   write nothing; fail if one of them would change

Inputs are fixed, so the files change only when the wire does: then by hand, and with a line in the changelog. `tests/contracts`
compares them with the code.
"""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from uuid import NAMESPACE_URL, uuid5

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as Protobuf
from google.protobuf.timestamp_pb2 import Timestamp

from millrace.cqrs.marshal import marshal
from millrace.envelope import encode_headers
from millrace.message import CAUSATION_ID, CORRELATION_ID, TRACEPARENT
from millrace.partitioner import murmur2, partition_for
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.notification.v1 import notification_messages_pb2 as notification
from shop.order.v1 import order_messages_pb2 as order
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.shipping.v1 import shipping_messages_pb2 as shipping
from shop.types.v1.money_pb2 import Money

FOLDER = Path(__file__).resolve().parent.parent / "proto" / "testdata"
PARTITION_COUNTS = (3, 12, 50)
OrderEvent: TypeAlias = (
    order.OrderCreatedEvent | order.OrderConfirmedEvent | order.OrderCancelledEvent | order.OrderCompletedEvent
)
START = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
CUSTOMER = "00000000-0000-4000-8000-000000000101"
REASON = "zu spät: Lager – leer"
TRACKING = "MR-0042-7"
KEYS = ("", "a", "ab", "abc", "abcd", "21", "foobar", "a-little-bit-long-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
        "teekännchen", CUSTOMER)  # fmt: skip


def at(seconds: float) -> Timestamp:
    """Return a time some seconds after the fixed start."""
    stamp = Timestamp()
    stamp.FromDatetime(START + timedelta(seconds=seconds))
    return stamp


def euros(minor_units: int) -> Money:
    """Return an amount in euro cents."""
    return Money(currency="EUR", minor_units=minor_units)


def fixed_id(name: str) -> str:
    """Return the UUID that stands for a name in these files."""
    return str(uuid5(NAMESPACE_URL, f"golden/{name}"))


def order_event(event: OrderEvent, name: str, sequence: int) -> tuple[Protobuf, int]:
    """Return an order event filled with what all four have in common, and its sequence."""
    event.order_id = fixed_id(name)
    event.customer_id = CUSTOMER
    event.items.append(order.OrderItem(item_id="teapot", name="Teekännchen", quantity=2, price=euros(2499)))
    event.items.append(order.OrderItem(item_id="mug", name="Mug", quantity=1, price=euros(899)))
    event.total_amount.CopyFrom(euros(5897))
    event.sequence = sequence
    return event, sequence


def order_bodies() -> list[tuple[Protobuf, int]]:
    """Return one of each order event, with its sequence."""
    return [
        order_event(order.OrderCreatedEvent(status=order.ORDER_STATUS_PENDING, created_at=at(0)), "created", 1),
        order_event(order.OrderConfirmedEvent(status=order.ORDER_STATUS_CONFIRMED, confirmed_at=at(0.5)), "confirmed", 2),
        order_event(
            order.OrderCancelledEvent(status=order.ORDER_STATUS_CANCELLED, reason=REASON, cancelled_at=at(1)), "cancelled", 2
        ),
        order_event(
            order.OrderCompletedEvent(status=order.ORDER_STATUS_COMPLETED, completed_at=at(2), delayed=True), "completed", 3
        ),
    ]


def step_bodies() -> list[Protobuf]:
    """Return one of each command and result of payment and inventory."""
    lines = [inventory.StockLine(item_id="teapot", quantity=2), inventory.StockLine(item_id="mug", quantity=1)]
    short = [inventory.ShortLine(item_id="rare-vase", requested=3, available=2)]
    charge, refund, reserve, release, ship = map(fixed_id, ("charge", "refund", "reserve", "release", "ship"))
    return [
        payment.ChargePaymentCommand(order_id=charge, customer_id=CUSTOMER, amount=euros(5897), requested_at=at(0)),
        payment.RefundPaymentCommand(order_id=refund, reason=REASON, requested_at=at(1)),
        payment.PaymentChargedEvent(order_id=charge, amount=euros(5897), charged_at=at(0.25)),
        payment.PaymentDeclinedEvent(order_id=charge, reason=REASON, declined_at=at(0.25)),
        payment.PaymentRefundedEvent(order_id=refund, amount=euros(0), refunded_at=at(1.25)),
        inventory.ReserveStockCommand(order_id=reserve, items=lines, requested_at=at(0)),
        inventory.ReleaseStockCommand(order_id=release, requested_at=at(1)),
        inventory.ShipStockCommand(order_id=ship, requested_at=at(2)),
        inventory.StockReservedEvent(order_id=reserve, lines=lines, reserved_at=at(0.25)),
        inventory.StockShortEvent(order_id=reserve, short=short, decided_at=at(0.25)),
        inventory.StockReleasedEvent(order_id=release, lines=[], released_at=at(1.25)),
        inventory.StockShippedEvent(order_id=ship, lines=lines, shipped_at=at(2.25)),
    ]


def outer_bodies() -> list[Protobuf]:
    """Return one of each shipping and notification event."""
    scheduled, failed = fixed_id("scheduled"), fixed_id("failed")
    return [
        shipping.ShippingScheduledEvent(
            order_id=scheduled, customer_id=CUSTOMER, tracking_number=TRACKING, expected_delivery_at=at(86400), scheduled_at=at(2)
        ),
        shipping.ShippingDelayedEvent(
            order_id=scheduled, customer_id=CUSTOMER, tracking_number=TRACKING, reason=REASON, expected_delivery_at=at(172800),
            delayed_at=at(2),
        ),
        shipping.ShippingFailedEvent(order_id=failed, customer_id=CUSTOMER, reason=REASON, failed_at=at(2)),
        shipping.ShippingDeliveredEvent(
            order_id=scheduled, customer_id=CUSTOMER, tracking_number=TRACKING, delivered_at=at(90000)
        ),
        notification.NotificationSentEvent(
            order_id=scheduled, notification_id=fixed_id("mail"), customer_id=CUSTOMER,
            kind=notification.NOTIFICATION_KIND_SHIPPING_DELAYED, channel=notification.NOTIFICATION_CHANNEL_EMAIL, sent_at=at(3),
        ),
    ]  # fmt: skip


def bodies() -> list[tuple[Protobuf, int | None]]:
    """Return one message of every type that has a topic, with its sequence where it has one."""
    item = inventory.ItemChangedEvent(
        item_id="teekännchen", name="Teekännchen", price=euros(2499), active=True, sequence=7, changed_at=at(0)
    )
    return [*order_bodies(), *((body, None) for body in step_bodies()), (item, 7), *((body, None) for body in outer_bodies())]


def vector(body: Protobuf, sequence: int | None) -> dict[str, object]:
    """Return one message as it stands on the wire."""
    name = body.DESCRIPTOR.full_name
    headers = {
        TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        CORRELATION_ID: fixed_id("correlation"),
        CAUSATION_ID: fixed_id("causation"),
    }
    source = f"/shop/{name.split('.')[1]}"
    outgoing = marshal(body, source=source, headers=headers, sequence=sequence, time=START, message_id=fixed_id(name))
    key = outgoing.message.key
    if key is None:
        raise ValueError(f"{name} has no key")
    return {
        "type": name,
        "topic": outgoing.topic,
        "key": key,
        "partition_of": {str(count): partition_for(key.encode(), count) for count in PARTITION_COUNTS},
        "headers": [[name, value.decode()] for name, value in encode_headers(outgoing.message)],
        "payload_hex": outgoing.message.payload.hex(),
        "payload_as_json": MessageToDict(body, preserving_proto_field_name=True),
    }


def partitioner_vectors() -> list[dict[str, object]]:
    """Return keys of every length modulo 4, some with bytes above 127, and where they belong."""
    keys = [*(key.encode() for key in KEYS), bytes([0xFF]), bytes([0x80, 0x00]), bytes(range(250, 256)), bytes(7)]
    return [
        {
            "key_hex": key.hex(),
            "murmur2": murmur2(key),
            "partition_of": {str(count): partition_for(key, count) for count in PARTITION_COUNTS},
        }
        for key in keys
    ]


def rendered() -> dict[str, str]:
    """Return what each file should hold, by its name."""
    contents: dict[str, object] = {f"{body.DESCRIPTOR.full_name}.json": vector(body, sequence) for body, sequence in bodies()}
    contents["partitioner.json"] = partitioner_vectors()
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in contents.items()}


def main() -> int:
    """Write or check the files; 0 if they are in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    check = parser.parse_args().check
    wanted = rendered()
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    changed = sorted(name for name in wanted | present if wanted.get(name) != present.get(name))
    for name in changed:
        if check:
            print(f"golden vectors: proto/testdata/{name} is not what the code says", file=sys.stderr)
        elif name in wanted:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
