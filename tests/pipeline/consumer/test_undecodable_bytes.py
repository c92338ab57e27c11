"""Bytes nobody can decode, on a real Kafka: a raw dead letter with the bytes and the reason, and the partition goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from millrace.envelope import encode_headers
from millrace.kafka.whole import read_whole
from millrace.message import Record
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)
GARBAGE = b"\x00\xff\xfe no protobuf \x00"

# What is changed of a good record's key, value or headers, and what its letter says.
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a value that is no protobuf": ({"value": GARBAGE}, "Undecodable"),
    "an empty envelope": ({"headers": []}, "Undecodable"),
    "a header that is no UTF-8": ({"traceparent": b"\xff"}, "Undecodable"),
    "a NUL in a header": ({"traceparent": b"\x00"}, "Undecodable"),
    "a time without its zone": ({"ce_time": b"2026-01-31T23:59:59"}, "Undecodable"),
    "a key that is no UTF-8": ({"key": b"\xff\x00"}, "Undecodable"),
    "no key and no protobuf": ({"key": None, "value": GARBAGE}, "Undecodable"),
    "a tombstone": ({"value": None}, "Undecodable"),
    "a type nobody knows": ({"ce_type": b"shop.nobody.v1.Knows"}, "UnknownType"),
    "a key longer than an index takes": ({"key": b"k" * 100_000}, "Undecodable"),
}


def broken(world: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Return a record for account a, broken."""
    message = world.message("a")
    headers = dict(encode_headers(message)) | {name: value for name, value in changes.items() if "_" in name or "trace" in name}
    record = {"key": b"a", "value": message.payload, "headers": list(headers.items())}
    return record | {name: value for name, value in changes.items() if name in record}


def test_each_is_a_raw_letter_with_its_reason_and_its_key_and_partition_go_on(
    running: Any, dead_letter_topic: Callable[[str], str]
) -> None:
    world, dead_letters = running.world, dead_letter_topic(running.requests)
    producer = Producer({"bootstrap.servers": running.kafka.bootstrap})
    good = [world.message("a") for _ in range(len(BROKEN) + 1)]
    sent = []
    for message, (changes, _) in zip(good, BROKEN.values(), strict=False):
        running.send(message)
        sent.append(broken(world, changes))
        producer.produce(running.requests, **sent[-1])
        assert producer.flush(30) == 0
    running.send(good[-1])
    running.consumer()
    running.relay()
    running.has(good, "a")
    eventually(lambda: running.committed() == 2 * len(BROKEN) + 1, 30, running.committed)

    def letters() -> list[Record]:
        return [record for record, _ in read_whole(running.kafka, dead_letters)]

    eventually(lambda: len(letters()) >= len(BROKEN), 60, lambda: len(letters()), every_seconds=0.2)
    found = {int(dict(letter.headers)["x-millrace-offset"] or b""): letter for letter in letters()}
    assert sorted(found) == [2 * number + 1 for number in range(len(BROKEN))]
    for number, (name, (_, reason)) in enumerate(BROKEN.items()):
        letter, record = found[2 * number + 1], sent[number]
        assert (letter.key, letter.value) == (record["key"], record["value"]), name
        assert list(letter.headers[: len(record["headers"])]) == record["headers"], name
        why = dict(letter.headers)
        assert (why["x-millrace-error"] or b"").decode().startswith(f"{reason}: "), name
        assert why["x-millrace-handler"] == running.group.encode()
    assert {(state, blocks) for _, state, _, blocks in world.parked()} == {("dead", False)}
