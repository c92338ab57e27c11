"""Rules of the contract that no linter knows."""

from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from millrace.v1 import options_pb2
from shopkit.topics import TOPICS

ROOT = Path(__file__).parents[2]
FILES = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto" / "shop").rglob("*.proto"))
MODULES = [import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2") for name in FILES]
TYPES: dict[str, Descriptor] = {
    descriptor.full_name: descriptor for module in MODULES for descriptor in module.DESCRIPTOR.message_types_by_name.values()
}
SENT = {name: found for name, found in TYPES.items() if found.GetOptions().Extensions[options_pb2.topic]}


def topic(descriptor: Descriptor) -> str:
    return str(descriptor.GetOptions().Extensions[options_pb2.topic])


def key_field(descriptor: Descriptor) -> str:
    return str(descriptor.GetOptions().Extensions[options_pb2.key_field])


def test_the_topics_of_the_types_are_the_declared_topics() -> None:
    assert {topic(descriptor) for descriptor in SENT.values()} == {spec.name for spec in TOPICS}


def test_only_messages_named_command_or_event_travel_and_all_of_them_do() -> None:
    assert set(SENT) == {name for name in TYPES if name.endswith(("Command", "Event")) and not name.endswith("RecordedEvent")}


def test_commands_go_to_request_topics_and_events_do_not() -> None:
    for name, descriptor in SENT.items():
        assert name.endswith("Command") == topic(descriptor).endswith(".request"), name


def test_everything_is_keyed_by_its_order_but_the_catalogue_by_its_item() -> None:
    keys = {name.rsplit(".", 1)[1]: key_field(descriptor) for name, descriptor in SENT.items()}
    assert keys.pop("ItemChangedEvent") == "item_id"
    assert set(keys.values()) == {"order_id"}


def test_no_number_anywhere_is_a_float() -> None:
    floats = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}
    assert [f"{name}.{field.name}" for name, found in TYPES.items() for field in found.fields if field.type in floats] == []


def test_times_are_timestamps_and_amounts_are_money() -> None:
    for name, descriptor in TYPES.items():
        for field in descriptor.fields:
            type_name = field.message_type.full_name if field.message_type else ""
            if field.name.endswith("_at") or field.name == "as_of":
                assert type_name == "google.protobuf.Timestamp", f"{name}.{field.name}"
            if field.name in {"amount", "total_amount", "price", "charged", "refunded"}:
                assert type_name == "shop.types.v1.Money", f"{name}.{field.name}"


@pytest.mark.parametrize("name", [name for name in SENT if name.startswith("shop.order.")])
def test_every_order_event_carries_its_sequence_and_the_whole_status(name: str) -> None:
    fields = SENT[name].fields_by_name
    assert fields["sequence"].type == FieldDescriptor.TYPE_INT64
    status = fields["status"].enum_type
    assert status is not None
    assert status.full_name == "shop.order.v1.OrderStatus"
    assert {"order_id", "customer_id", "items", "total_amount"} <= set(fields)


def test_every_list_call_is_paged() -> None:
    for name, descriptor in TYPES.items():
        if ".List" in name and name.endswith("Request"):
            assert {"page_size", "page_token"} <= set(descriptor.fields_by_name), name
            assert "next_page_token" in TYPES[name.replace("Request", "Response")].fields_by_name, name
