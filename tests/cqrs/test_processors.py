from collections.abc import Sequence

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.cqrs.marshal import marshal
from millrace.cqrs.processors import CommandProcessor, EventProcessor
from millrace.cqrs.registry import TypeRegistry
from millrace.cqrs.unknown import UnknownTypePolicy
from millrace.errors import Refused, TransientError, Undecodable, UnknownType
from millrace.handling import HandlerFunc
from millrace.message import Message
from shop.order.v1.order_messages_pb2 import OrderCreatedEvent
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.types.v1.money_pb2 import Money

REGISTRY = TypeRegistry.from_modules(payment)
COMMAND = payment.ChargePaymentCommand(order_id="o-1", amount=Money(currency="EUR", minor_units=5))
CHARGE = marshal(COMMAND, source="/order", headers={"ce_correlationid": "m-1"}).message
CHARGED = marshal(payment.PaymentChargedEvent(order_id="o-1"), source="/payment").message
FOREIGN = marshal(OrderCreatedEvent(order_id="o-1"), source="/order").message


def approve(command: payment.ChargePaymentCommand, message: Message) -> Sequence[Protobuf]:
    return [payment.PaymentChargedEvent(order_id=command.order_id, amount=command.amount)]


def test_a_command_goes_to_the_handler_of_its_type_and_the_answer_names_its_cause() -> None:
    processor = CommandProcessor(REGISTRY, "/payment")
    processor.on(payment.ChargePaymentCommand, approve)
    handler: HandlerFunc = processor
    (answer,) = handler(CHARGE)
    assert answer.topic == "payment.result"
    assert answer.message.source == "/payment"
    assert REGISTRY.decode(answer.message) == payment.PaymentChargedEvent(
        order_id="o-1", amount=Money(currency="EUR", minor_units=5)
    )
    assert answer.message.headers == {"ce_correlationid": "m-1", "ce_causationid": CHARGE.id}


def test_a_second_handler_for_a_command_is_refused() -> None:
    processor = CommandProcessor(REGISTRY, "/payment")
    processor.on(payment.ChargePaymentCommand, approve)
    with pytest.raises(ValueError, match="exactly one"):
        processor.on(payment.ChargePaymentCommand, approve)


def test_a_handler_for_a_type_the_registry_does_not_know_is_refused() -> None:
    with pytest.raises(UnknownType):
        CommandProcessor(REGISTRY, "s").on(OrderCreatedEvent, lambda body, message: [])
    with pytest.raises(UnknownType):
        EventProcessor(REGISTRY, "s").on(OrderCreatedEvent, lambda body, message: [])


def test_every_handler_of_an_event_gets_it_in_the_order_they_were_added() -> None:
    seen: list[str] = []

    def note(name: str, body: payment.PaymentChargedEvent, message: Message) -> Sequence[Protobuf]:
        seen.append(f"{name} {body.order_id} {message.id == CHARGED.id}")
        return [payment.RefundPaymentCommand(order_id=body.order_id, reason=name)]

    processor = EventProcessor(REGISTRY, "/order")
    processor.on(payment.PaymentChargedEvent, lambda body, message: note("first", body, message))
    processor.on(payment.PaymentChargedEvent, lambda body, message: note("second", body, message))
    followed = [REGISTRY.decode(outgoing.message) for outgoing in processor(CHARGED)]
    assert seen == ["first o-1 True", "second o-1 True"]
    assert followed == [payment.RefundPaymentCommand(order_id="o-1", reason=name) for name in ("first", "second")]


def test_a_known_event_nobody_handles_is_of_no_interest() -> None:
    processor = EventProcessor(REGISTRY, "/order")
    assert processor(CHARGED) == []
    assert processor.unknown.skipped == 0


def test_what_a_handler_raises_reaches_the_router() -> None:
    def refuse(body: Protobuf, message: Message) -> Sequence[Protobuf]:
        raise Refused("no")

    commands, events = CommandProcessor(REGISTRY, "s"), EventProcessor(REGISTRY, "s")
    commands.on(payment.ChargePaymentCommand, refuse)
    events.on(payment.PaymentChargedEvent, refuse)
    for handler, message in ((commands, CHARGE), (events, CHARGED)):
        with pytest.raises(Refused):
            handler(message)


def test_garbage_of_a_known_type_is_undecodable_whatever_the_policy() -> None:
    processor = CommandProcessor(REGISTRY, "s", unknown=UnknownTypePolicy.SKIP)
    processor.on(payment.ChargePaymentCommand, approve)
    with pytest.raises(Undecodable):
        processor(Message(CHARGE.type, b"\xff", "o-1"))


@pytest.mark.parametrize("processor_type", [CommandProcessor, EventProcessor])
def test_an_unknown_type_is_a_dead_letter_unless_said_otherwise(processor_type: type[CommandProcessor | EventProcessor]) -> None:
    with pytest.raises(UnknownType, match="OrderCreatedEvent"):
        processor_type(REGISTRY, "s")(FOREIGN)


@pytest.mark.parametrize("processor_type", [CommandProcessor, EventProcessor])
def test_an_unknown_type_can_be_skipped_and_counted(processor_type: type[CommandProcessor | EventProcessor]) -> None:
    processor = processor_type(REGISTRY, "s", unknown=UnknownTypePolicy.SKIP)
    assert [list(processor(FOREIGN)), list(processor(FOREIGN))] == [[], []]
    assert processor.unknown.skipped == 2


@pytest.mark.parametrize("processor_type", [CommandProcessor, EventProcessor])
def test_an_unknown_type_can_wait_for_a_version_that_knows_it(processor_type: type[CommandProcessor | EventProcessor]) -> None:
    with pytest.raises(TransientError):
        processor_type(REGISTRY, "s", unknown=UnknownTypePolicy.FAIL)(FOREIGN)


def test_a_command_without_a_handler_is_unknown_though_its_type_is_registered() -> None:
    with pytest.raises(UnknownType):
        CommandProcessor(REGISTRY, "s")(CHARGE)
