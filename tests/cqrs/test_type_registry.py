import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from millrace.cqrs.marshal import marshal
from millrace.cqrs.registry import TypeRegistry
from millrace.errors import Invalid, Undecodable, UnknownType
from millrace.message import Message
from millrace.v1 import options_pb2
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.types.v1 import money_pb2
from shop.types.v1.money_pb2 import Money

CHARGE = payment.ChargePaymentCommand(order_id="o-1", amount=Money(currency="EUR", minor_units=5))


@pytest.fixture
def registry() -> TypeRegistry:
    return TypeRegistry.from_modules(payment, inventory)


def message(payload: bytes, key: str | None = "o-1") -> Message:
    return Message("shop.payment.v1.ChargePaymentCommand", payload, key)


def test_modules_give_their_types_with_a_topic_and_no_others(registry: TypeRegistry) -> None:
    assert payment.ChargePaymentCommand in set(registry)
    assert inventory.StockLine not in set(registry)
    assert registry.topics() == {"payment.request", "payment.result", "inventory.request", "inventory.result", "item.changed"}
    assert "shop.payment.v1.ChargePaymentCommand" in registry
    assert "shop.order.v1.OrderCreatedEvent" not in registry


def test_what_was_marshalled_is_decoded_to_an_equal_body(registry: TypeRegistry) -> None:
    body = registry.decode(marshal(CHARGE, source="s").message)
    assert isinstance(body, payment.ChargePaymentCommand)
    assert body == CHARGE


def test_fields_of_a_later_version_are_kept(registry: TypeRegistry) -> None:
    from_the_future = CHARGE.SerializeToString() + b"\xfa\x01\x03new"
    assert registry.decode(message(from_the_future)).SerializeToString() == from_the_future


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\xff\x01x", b"\x0a\x02\xff\xfe", b"not protobuf at all"])
def test_garbage_is_undecodable(registry: TypeRegistry, garbage: bytes) -> None:
    with pytest.raises(Undecodable, match=r"no shop\.payment\.v1\.ChargePaymentCommand"):
        registry.decode(message(garbage))


def test_an_unknown_type_is_named(registry: TypeRegistry) -> None:
    with pytest.raises(UnknownType, match=r"shop\.nowhere\.Nothing"):
        registry.decode(Message("shop.nowhere.Nothing", b"", "o-1"))


@pytest.mark.parametrize("key", ["o-2", "", None])
def test_a_key_that_is_not_the_payloads_is_undecodable(registry: TypeRegistry, key: str | None) -> None:
    with pytest.raises(Undecodable, match="key is not the payload's order_id"):
        registry.decode(message(CHARGE.SerializeToString(), key))


def test_topic_and_key_come_from_the_types_options(registry: TypeRegistry) -> None:
    assert registry.topic(payment.ChargePaymentCommand) == "payment.request"
    assert registry.key(CHARGE) == "o-1"
    with pytest.raises(UnknownType):
        registry.topic(Money)
    with pytest.raises(Invalid):
        registry.key(payment.ChargePaymentCommand())


def test_a_type_without_a_topic_cannot_be_registered() -> None:
    with pytest.raises(UnknownType):
        TypeRegistry([Money])


def test_another_class_of_a_known_name_is_refused(registry: TypeRegistry) -> None:
    pool = DescriptorPool()
    for file in (descriptor_pb2, timestamp_pb2, options_pb2, money_pb2, payment):
        pool.AddSerializedFile(file.DESCRIPTOR.serialized_pb)
    double = GetMessageClass(pool.FindMessageTypeByName("shop.payment.v1.ChargePaymentCommand"))
    assert double is not payment.ChargePaymentCommand
    with pytest.raises(ValueError, match=r"two classes are named shop\.payment\.v1\.ChargePaymentCommand"):
        TypeRegistry([payment.ChargePaymentCommand, double])
    with pytest.raises(UnknownType):
        registry.require(double)
    assert registry.require(payment.ChargePaymentCommand) == "shop.payment.v1.ChargePaymentCommand"
