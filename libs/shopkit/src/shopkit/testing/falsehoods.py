"""Plays a partner that says of an order what cannot be true, and the person who then looks at the dead letter."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from google.protobuf.message import Message as Protobuf

from millrace.cqrs.routing import route_of
from millrace.envelope import encode_headers
from millrace.inbox.parked import ParkedMessages
from millrace.message import Message
from millrace.partitioner import partition_for
from millrace.store.open import open_store
from shop.inventory.v1.inventory_messages_pb2 import StockLine, StockReservedEvent
from shop.payment.v1.payment_messages_pb2 import PaymentChargedEvent
from shop.shipping.v1.shipping_messages_pb2 import ShippingScheduledEvent
from shop.types.v1.money_pb2 import Money
from shopkit.testing.outcomes import CURRENCY
from shopkit.testing.records import Raw, write
from shopkit.topics import PARTITIONS, group_of

_MOST = 1000


def another_amount(order_id: str) -> PaymentChargedEvent:
    """Say that a cent was charged."""
    return PaymentChargedEvent(order_id=order_id, amount=Money(currency=CURRENCY, minor_units=1))


def other_goods(order_id: str) -> StockReservedEvent:
    """Say that two mugs were set aside."""
    return StockReservedEvent(order_id=order_id, lines=[StockLine(item_id="mug", quantity=2)])


def no_tracking_number(order_id: str) -> ShippingScheduledEvent:
    """Say that a parcel is on its way to nobody, nobody knows which."""
    return ShippingScheduledEvent(order_id=order_id)


def say(bootstrap: str, body: Protobuf) -> tuple[str, Message]:
    """Put a message on its topic and partition, as its true sender would; return both once the broker has it."""
    route = route_of(type(body))
    message = Message(route.type, body.SerializeToString(), route.key(body), "/tests")
    key = (message.key or "").encode()
    write(bootstrap, [Raw(route.topic, partition_for(key, PARTITIONS), key, message.payload, list(encode_headers(message)))])
    return route.topic, message


def parked_states(store_url: str, service: str, key: str) -> list[str]:
    """Return the states of what a service has parked of a key, in order: `dead` waits for a person, `retry` for what is before it."""
    with _parked(store_url) as parked:
        return [each.state for each in parked.list(group_of(service).id, _MOST) if each.key == key]


def discard(store_url: str, service: str, key: str) -> None:
    """Take the dead messages of a key out of a service's store, as a person does who has looked at them: what waits behind goes on."""
    with _parked(store_url) as parked:
        parked.release([each for each in parked.list(group_of(service).id, _MOST) if (each.key, each.state) == (key, "dead")])


@contextmanager
def _parked(store_url: str) -> Iterator[ParkedMessages]:
    with closing(open_store(store_url, "tests")) as store, closing(store.session()) as session, session.transaction() as tx:
        yield tx.parked
