"""Writes docs/messages.md: every message that travels, field by field, with the comments of proto/. Called by tools/proto.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from millrace.v1 import options_pb2

MESSAGES_IN_FILE, ENUMS_IN_FILE, FIELDS_IN_MESSAGE, VALUES_IN_ENUM = 4, 5, 2, 2
HEAD = """# Messages

<!-- Written by tools/proto.py from proto/; edit the comments there. -->

Every message the shop's services send one another. How they stand on the wire is in [wire-format.md](wire-format.md). Money is whole
minor units with a currency, times are `google.protobuf.Timestamp`, ids are UUIDs as text. The key is what order is kept by.

"""


@dataclass(frozen=True, slots=True)
class Named:
    """A message or enum with its full name, and the comments of itself and of what it holds."""

    name: str
    proto: DescriptorProto | EnumDescriptorProto
    comment: str
    inner: Sequence[str]


def declared(files: FileDescriptorSet) -> dict[str, Named]:
    """Return every message and enum of a descriptor set that carries its source info, by full name."""
    return {named.name: named for file in files.file for named in _of_file(file)}


def _of_file(file: FileDescriptorProto) -> Iterator[Named]:
    comments = {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
        if place.leading_comments
    }
    for index, message in enumerate(file.message_type):
        path = (MESSAGES_IN_FILE, index)
        inner = [comments.get((*path, FIELDS_IN_MESSAGE, at), "") for at in range(len(message.field))]
        yield Named(f"{file.package}.{message.name}", message, comments.get(path, ""), inner)
    for index, enum in enumerate(file.enum_type):
        path = (ENUMS_IN_FILE, index)
        inner = [comments.get((*path, VALUES_IN_ENUM, at), "") for at in range(len(enum.value))]
        yield Named(f"{file.package}.{enum.name}", enum, comments.get(path, ""), inner)


def render(files: FileDescriptorSet) -> str:
    """Return the page: topics by name with their types, then the types those refer to."""
    known = declared(files)
    by_topic: dict[str, list[Named]] = {}
    for named in known.values():
        topic = named.proto.options.Extensions[options_pb2.topic] if isinstance(named.proto, DescriptorProto) else ""
        if topic:
            by_topic.setdefault(topic, []).append(named)
    sending = [named for topic in sorted(by_topic) for named in by_topic[topic]]
    lines = [HEAD.rstrip("\n"), "", "| topic | types | key |", "|---|---|---|"]
    for topic in sorted(by_topic):
        types = ", ".join(f"[{_short(named.name)}](#{_short(named.name).lower()})" for named in by_topic[topic])
        keys = sorted({_key_field(named) for named in by_topic[topic]})
        lines.append(f"| `{topic}` | {types} | `{'`, `'.join(keys)}` |")
    for named in sending:
        lines += _section(named)
    lines += ["", "# Types they refer to"]
    for named in _referred(sending, known):
        lines += _section(named)
    return "\n".join(lines) + "\n"


def _referred(start: Sequence[Named], known: dict[str, Named]) -> list[Named]:
    found: dict[str, Named] = {}
    waiting = list(start)
    while waiting:
        proto = waiting.pop().proto
        for field in proto.field if isinstance(proto, DescriptorProto) else ():
            name = field.type_name.lstrip(".")
            if name in known and name not in found:
                found[name] = known[name]
                waiting.append(known[name])
    return [found[name] for name in sorted(found)]


def _section(named: Named) -> list[str]:
    lines = ["", f"## {_short(named.name)}", "", f"`{named.name}`: {named.comment}", ""]
    if isinstance(named.proto, EnumDescriptorProto):
        lines += ["| number | value | meaning |", "|---|---|---|"]
        rows = zip(named.proto.value, named.inner, strict=True)
        return lines + [f"| {value.number} | `{value.name}` | {comment} |" for value, comment in rows]
    lines += ["| number | field | type | meaning |", "|---|---|---|---|"]
    fields = zip(named.proto.field, named.inner, strict=True)
    return lines + [f"| {field.number} | `{field.name}` | {_type(field)} | {comment} |" for field, comment in fields]


def _key_field(named: Named) -> str:
    assert isinstance(named.proto, DescriptorProto)
    return named.proto.options.Extensions[options_pb2.key_field]


def _type(field: FieldDescriptorProto) -> str:
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = _short(field.type_name) if field.type_name else scalar
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]
