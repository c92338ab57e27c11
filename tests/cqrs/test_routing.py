from itertools import count

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message as Protobuf
from google.protobuf.message_factory import GetMessageClass

from millrace.cqrs.routing import Route, route_of
from millrace.errors import Invalid, UnknownType
from millrace.v1 import options_pb2
from shop.inventory.v1.inventory_messages_pb2 import ItemChangedEvent
from shop.order.v1.order_messages_pb2 import OrderCreatedEvent
from shop.types.v1.money_pb2 import Money

NUMBERS = count()


def type_with(topic: str, key_field: str, *, number: bool = False, repeated: bool = False) -> type[Protobuf]:
    """Make a message type with one field `id` and these options."""
    file = FileDescriptorProto(name=f"made_up_{next(NUMBERS)}.proto", package="made.up", syntax="proto3")
    message = file.message_type.add(name=f"Thing{next(NUMBERS)}")
    kind = FieldDescriptorProto.TYPE_INT64 if number else FieldDescriptorProto.TYPE_STRING
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    message.field.add(name="id", number=1, type=kind, label=label)
    if topic:
        message.options.Extensions[options_pb2.topic] = topic
    if key_field:
        message.options.Extensions[options_pb2.key_field] = key_field
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"made.up.{message.name}"))


def test_a_types_options_say_its_topic_and_its_key_field() -> None:
    assert route_of(OrderCreatedEvent) == Route("shop.order.v1.OrderCreatedEvent", "order.created", "order_id")
    assert route_of(ItemChangedEvent) == Route("shop.inventory.v1.ItemChangedEvent", "item.changed", "item_id")


def test_a_type_without_a_topic_is_refused() -> None:
    with pytest.raises(UnknownType, match=r"shop\.types\.v1\.Money declares no topic"):
        route_of(Money)


def test_a_key_field_that_is_no_single_string_is_refused() -> None:
    for body_type in (type_with("t", "missing"), type_with("t", "id", number=True), type_with("t", "id", repeated=True)):
        with pytest.raises(UnknownType, match="to be its key"):
            route_of(body_type)


def test_a_type_without_a_key_field_has_no_key() -> None:
    body_type = type_with("things", "")
    assert route_of(body_type).key(body_type()) is None


def test_an_empty_key_is_refused_by_the_name_of_its_field() -> None:
    with pytest.raises(Invalid) as refusal:
        route_of(OrderCreatedEvent).key(OrderCreatedEvent())
    assert [violation.field for violation in refusal.value.violations] == ["order_id"]
