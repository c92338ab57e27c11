"""A key with a poisoned head, on a real Kafka: its successors park in order, other keys flow, redrive keeps the order, discard releases."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.cli.app import load_app
from millrace.dead_letters.letter import Letter, Wanted
from millrace.dead_letters.stored import StoredLetters
from millrace.decision import Context, Decision
from millrace.errors import Refused
from millrace.kafka.whole import read_whole
from millrace.message import Message, Record
from millrace.testing.waiting import eventually

pytestmark = pytest.mark.timeout(180)


class Poisoned:
    """A running service that refuses messages marked "poison" until it is mended, with its letters and its dead letter topic."""

    def __init__(self, running: Any, dead_letters: str) -> None:
        self.running, self.world, self.dead_letters = running, running.world, dead_letters
        self._letters = StoredLetters("store", self.world.store)

        def refuse(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
            raise Refused("poison")

        self.world.scripts["poison"] = refuse
        running.consumer()
        running.relay()

    def messages(self, key: str, count: int) -> list[Message]:
        return [self.world.message(key) for _ in range(count)]

    def head(self, key: str) -> Message:
        message: Message = self.world.message(key, does="poison")
        return message

    def mend(self) -> None:
        self.world.scripts.pop("poison")

    def parked(self, key: str) -> list[Letter]:
        return self._letters.find(Wanted(state="", key=key))

    def has_parked(self, key: str, *messages: Message) -> None:
        """Wait until exactly these messages of a key are parked, in this order, the first of them dead."""
        wanted = [(m.id, "waiting" if n else "dead") for n, m in enumerate(messages)]
        eventually(
            lambda: [(letter.message_id, letter.state) for letter in self.parked(key)] == wanted,
            60,
            lambda: [(letter.message_id, letter.state) for letter in self.parked(key)],
            every_seconds=0.1,
        )

    def published(self) -> list[Record]:
        return [record for record, _ in read_whole(self.running.kafka, self.dead_letters)]

    def dlt(self, *words: str) -> str:
        result = CliRunner().invoke(load_app(), ["dlt", *words, "--store", self.world.url, "--yes"])
        assert result.exit_code == 0, result.output
        return result.stdout

    def close(self) -> None:
        self._letters.close()


@pytest.fixture
def poisoned(running: Any, dead_letter_topic: Callable[[str], str]) -> Iterator[Poisoned]:
    made = Poisoned(running, dead_letter_topic(running.requests))
    yield made
    made.close()


def interleaved(*lists: list[Message]) -> list[Message]:
    return [message for together in zip(*lists, strict=True) for message in together]


def test_successors_of_a_poisoned_head_park_in_order_and_other_keys_of_its_partition_flow(poisoned: Poisoned) -> None:
    bad, behind = poisoned.head("a"), poisoned.messages("a", 20)
    others = poisoned.messages("b", 21), poisoned.messages("c", 21)
    poisoned.running.send(*interleaved([bad, *behind], *others))
    poisoned.running.has([*others[0], *others[1]], "b", "c")
    poisoned.has_parked("a", bad, *behind)
    assert poisoned.world.notes("a") == []
    eventually(lambda: poisoned.running.committed() == 63, 30, poisoned.running.committed)
    (copy,) = eventually(poisoned.published, 30, every_seconds=0.2)
    assert (copy.key, copy.value) == (b"a", bad.payload)


def test_a_poisoned_key_stays_parked_over_a_restart_and_what_comes_then_queues_up_behind(poisoned: Poisoned) -> None:
    bad, first, later = poisoned.head("a"), poisoned.messages("a", 3), poisoned.messages("a", 3)
    poisoned.running.send(bad, *first)
    poisoned.has_parked("a", bad, *first)
    poisoned.running.stop()
    other = poisoned.messages("b", 1)
    poisoned.running.send(*later, *other)
    poisoned.running.consumer()
    poisoned.running.has(other, "b")
    poisoned.has_parked("a", bad, *first, *later)


def test_a_redriven_head_goes_first_and_its_successors_follow_in_order_while_more_arrive(poisoned: Poisoned) -> None:
    bad, behind, more = poisoned.head("a"), poisoned.messages("a", 100), poisoned.messages("a", 200)
    poisoned.running.send(bad, *behind)
    poisoned.has_parked("a", bad, *behind)
    poisoned.mend()

    def send() -> None:
        for start in range(0, 200, 10):
            poisoned.running.send(*more[start : start + 10])

    sending = threading.Thread(target=send)
    sending.start()
    assert "1 dead letter of 1 key; " in poisoned.dlt("redrive", "--key", "a")
    sending.join()
    poisoned.running.has([bad, *behind, *more], "a")
    assert poisoned.parked("a") == []


def test_a_head_redriven_too_early_dies_again_and_its_successors_stay_in_order(poisoned: Poisoned) -> None:
    bad, behind = poisoned.head("a"), poisoned.messages("a", 5)
    poisoned.running.send(bad, *behind)
    poisoned.has_parked("a", bad, *behind)
    first = poisoned.parked("a")[0].at
    poisoned.dlt("redrive", "--key", "a")
    eventually(lambda: poisoned.parked("a")[0].state == "dead" and poisoned.parked("a")[0].at > first, 30, every_seconds=0.1)
    poisoned.has_parked("a", bad, *behind)
    poisoned.mend()
    poisoned.dlt("redrive", "--key", "a")
    poisoned.running.has([bad, *behind], "a")


def test_a_discarded_head_releases_its_successors_in_order_and_the_topic_tells_of_it(poisoned: Poisoned) -> None:
    bad, behind = poisoned.head("a"), poisoned.messages("a", 20)
    poisoned.running.send(bad, *behind)
    poisoned.has_parked("a", bad, *behind)
    assert "20 messages wait behind" in poisoned.dlt("discard", "--key", "a")
    poisoned.running.has(behind, "a")
    assert poisoned.parked("a") == []
    eventually(lambda: len(poisoned.published()) == 2, 30, every_seconds=0.2)
    copy, note = (dict(record.headers) for record in poisoned.published())
    assert note["x-millrace-settles"] == copy["x-millrace-parked"]
    assert note["x-millrace-outcome"] == b"discarded"


def test_a_second_poison_among_the_successors_stops_them_there(poisoned: Poisoned) -> None:
    first, between, second, after = (
        poisoned.head("a"),
        poisoned.messages("a", 3),
        poisoned.head("a"),
        poisoned.messages("a", 3),
    )
    poisoned.running.send(first, *between, second, *after)
    eventually(lambda: len(poisoned.parked("a")) == 8, 60, lambda: len(poisoned.parked("a")))
    poisoned.dlt("discard", "--key", "a")
    poisoned.running.has(between, "a")
    poisoned.has_parked("a", second, *after)
    poisoned.dlt("discard", "--key", "a")
    poisoned.running.has([*between, *after], "a")
