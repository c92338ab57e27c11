"""docs/messages.md, read as a stranger would, against the descriptors."""

import re
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from millrace.v1 import options_pb2

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "messages.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in PAGE.split("\n## ")[1:]}
SCALARS = {FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_INT32: "int32", FieldDescriptor.TYPE_INT64: "int64",
           FieldDescriptor.TYPE_BOOL: "bool"}  # fmt: skip
TRAVELLING: dict[str, Descriptor] = {
    name: descriptor
    for service in ("order", "payment", "inventory", "shipping", "notification")
    for name, descriptor in import_module(f"shop.{service}.v1.{service}_messages_pb2").DESCRIPTOR.message_types_by_name.items()
}


def rows(section: str) -> list[tuple[str, ...]]:
    """Return the cells of a section's table, its head left out."""
    cells = [
        tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in section.splitlines() if line.startswith("|")
    ]
    return cells[2:]


def type_of(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    name = named.name if named else SCALARS[field.type]
    return f"repeated {name}" if field.is_repeated else name


def test_every_message_has_a_section_with_exactly_its_fields() -> None:
    for name, descriptor in TRAVELLING.items():
        written = [row[:3] for row in rows(SECTIONS[name])]
        assert written == [(str(field.number), field.name, type_of(field)) for field in descriptor.fields], name
        assert f"`{descriptor.full_name}`" in SECTIONS[name]


def test_every_field_of_a_travelling_message_has_a_meaning() -> None:
    silent = [f"{name}.{row[1]}" for name, descriptor in TRAVELLING.items() for row in rows(SECTIONS[name]) if not row[3]]
    assert silent == []


def test_every_enum_has_a_section_with_exactly_its_values() -> None:
    enums = {field.enum_type for descriptor in TRAVELLING.values() for field in descriptor.fields if field.enum_type}
    for enum in enums:
        assert [row[:2] for row in rows(SECTIONS[enum.name])] == [(str(value.number), value.name) for value in enum.values]


def test_the_first_table_names_each_topic_with_its_types_and_key() -> None:
    expected: dict[str, tuple[set[str], str]] = {}
    for name, descriptor in TRAVELLING.items():
        options = descriptor.GetOptions()
        if topic := options.Extensions[options_pb2.topic]:
            expected.setdefault(topic, (set(), options.Extensions[options_pb2.key_field]))[0].add(name)
    written = {row[0]: (set(re.findall(r"\[(\w+)\]", row[1])), row[2]) for row in rows(PAGE.split("\n## ", 1)[0])}
    assert written == expected
