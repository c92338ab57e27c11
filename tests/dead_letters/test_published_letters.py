"""Letters of plain handlers lie on a dead letter topic alone: they are sent again for the handler that failed, once, or given up."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner, Result

from millrace.cli.app import load_app
from millrace.dead_letters.letter import Letter, Wanted
from millrace.dead_letters.published import PublishedLetters
from millrace.errors import Refused, Unavailable
from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.kafka.whole import read_whole
from millrace.message import Message
from millrace.middleware import DeadLetter
from millrace.pubsub import Outgoing, RawOutgoing
from millrace.router import Router, RouterSettings, Source
from millrace.testing.waiting import eventually


class Billing:
    """Two plain handlers of one topic. `billing` refuses every message until it is mended, `audit` takes all; what each took is kept."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.config, self.topic, self.dlt = KafkaConfig(kafka), topic, f"{topic}.dlt"
        self.publisher = KafkaPublisher(self.config)
        self.taken: dict[str, list[str]] = {"billing": [], "audit": []}
        self.mended = False
        self._router = Router(RouterSettings(dead_letters=self.publisher))
        subscriber, group = KafkaSubscriber(self.config), uuid4().hex
        for name in self.taken:
            source = Source(subscriber, [topic], group=f"{name}-{group}")
            self._router.add_handler(name, source, self._handler(name), None, middleware=[DeadLetter(self.publisher)])
        self._router.start()

    def _handler(self, name: str) -> Callable[[Message], Sequence[Outgoing]]:
        def handle(message: Message) -> Sequence[Outgoing]:
            if name == "billing" and not self.mended:
                raise Refused("not yet")
            self.taken[name].append(message.id)
            return ()

        return handle

    def send(self, *keys: str) -> list[Message]:
        messages = [Message("example.v1.Order", b"payload", key) for key in keys]
        self.publisher.publish([Outgoing(self.topic, message) for message in messages])
        return messages

    def die(self, *keys: str) -> list[Message]:
        """Send messages, and wait until `billing` has dead-lettered them and `audit` has taken them."""
        messages = self.send(*keys)
        eventually(lambda: len(self.letters()) >= len(keys), 60, self.letters, every_seconds=0.2)
        eventually(lambda: len(self.taken["audit"]) >= len(keys), 60)
        return messages

    def letters(self) -> list[Letter]:
        return PublishedLetters(self.dlt, self.config).find(Wanted())

    def took(self, name: str, key: str, messages: Sequence[Message]) -> list[str]:
        """Return the ids of a key's messages that a handler took, in order."""
        ids = {message.id for message in messages if message.key == key}
        return [message_id for message_id in self.taken[name] if message_id in ids]

    def all_read(self) -> None:
        """Wait until both handlers have taken what is sent now, on every partition, and so all before."""
        last = self.send(*(f"k{n}" for n in range(30)))
        eventually(lambda: all(m.id in taken for m in last for taken in self.taken.values()), 60)

    def close(self) -> None:
        self._router.close()
        self.publisher.close()


@pytest.fixture
def billing(kafka: str, kafka_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Billing]:
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", kafka)
    topic = kafka_topic("orders", partitions=3)
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics([NewTopic(f"{topic}.dlt", 3)]).values():
        future.result()
    eventually(lambda: f"{topic}.dlt" in admin.list_topics(timeout=10).topics, 30)
    running = Billing(kafka, topic)
    yield running
    running.close()
    for future in admin.delete_topics([f"{topic}.dlt"]).values():
        future.result()


def dlt(*words: str) -> Result:
    return CliRunner().invoke(load_app(), ["dlt", *words], prog_name="millrace")


def test_redriven_letters_reach_the_handler_that_failed_alone_in_their_keys_order(billing: Billing) -> None:
    messages = billing.die("a", "b", "a", "a", "b")
    billing.mended = True
    result = dlt("redrive", "--from", billing.dlt, "--key", "a", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 dead letters of 1 key\n")
    assert result.stdout.endswith("3 dead letters redriven\n")
    billing.all_read()
    of_a = [message.id for message in messages if message.key == "a"]
    assert billing.took("billing", "a", messages) == of_a
    assert billing.took("audit", "a", messages) == of_a
    assert [letter.key for letter in billing.letters()] == ["b", "b"]


def test_a_letter_that_is_redriven_and_dies_again_is_a_new_letter(billing: Billing) -> None:
    (message,) = billing.die("a")
    (first,) = billing.letters()
    assert dlt("redrive", first.id, "--yes").exit_code == 0
    eventually(lambda: [x.id for x in billing.letters()] not in ([], [first.id]), 60, every_seconds=0.2)
    (second,) = billing.letters()
    assert (second.message_id, second.handler) == (message.id, "billing")
    billing.mended = True
    assert dlt("redrive", second.id, "--yes").exit_code == 0
    billing.all_read()
    assert billing.taken["billing"].count(message.id) == billing.taken["audit"].count(message.id) == 1


def test_discarded_letters_are_listed_no_more_and_never_handled(billing: Billing) -> None:
    messages = billing.die("a", "b")
    listed = json.loads(dlt("list", "--from", billing.dlt, "--json").stdout)
    assert sorted((letter["key"], letter["reason"], letter["handler"]) for letter in listed) == [
        ("a", "Refused: not yet", "billing"),
        ("b", "Refused: not yet", "billing"),
    ]
    billing.mended = True
    assert dlt("discard", *(letter["id"] for letter in listed), "--yes").stdout.endswith("2 dead letters discarded\n")
    assert json.loads(dlt("list", "--from", billing.dlt, "--json").stdout) == []
    billing.all_read()
    assert not billing.took("billing", "a", messages)
    again = dlt("redrive", listed[0]["id"], "--yes")
    assert again.stderr == f"error: not there, or settled before: {listed[0]['id']}\n"


def test_bytes_no_handler_could_read_are_shown_raw_and_sent_again_as_they_were(billing: Billing) -> None:
    raw = RawOutgoing(billing.topic, b"\xff", b"\x00\xff garbage", (("h", b"\xfe"), ("x", None)))
    billing.publisher.publish([raw])
    eventually(lambda: len(billing.letters()) == 2, 60, every_seconds=0.2)
    ours, theirs = sorted(billing.letters(), key=lambda letter: letter.handler == "audit")
    shown = dlt("show", ours.id).stdout
    assert "Undecodable" in shown
    assert "00 ff 20 67 61 72 62 61 67 65" in shown
    assert dlt("redrive", ours.id, "--yes").exit_code == 0
    eventually(lambda: len(billing.letters()) == 2 and ours.id not in {x.id for x in billing.letters()}, 60, every_seconds=0.2)
    billing.mended = True
    billing.all_read()
    assert sorted(letter.handler for letter in billing.letters()) == ["audit", "billing"]
    assert theirs.id in {letter.id for letter in billing.letters()}
    sent = [record for record, _ in read_whole(billing.config, billing.topic) if record.key == b"\xff"]
    assert [(record.value, record.headers[:2]) for record in sent] == [(raw.value, raw.headers)] * 2


def test_of_two_who_redrive_the_same_letters_one_does(billing: Billing) -> None:
    messages = billing.die("a", "a")
    chosen = billing.letters()

    class Late(PublishedLetters):
        """Reads, and is overtaken before it sends."""

        def _open(self, *, keep_values: bool) -> dict[str, Letter]:
            found = super()._open(keep_values=keep_values)
            assert PublishedLetters(billing.dlt, billing.config).redrive(chosen, "the other") == 2
            return found

    billing.mended = True
    with pytest.raises(Unavailable, match="nothing was redriven"):
        Late(billing.dlt, billing.config).redrive(chosen, "the late one")
    assert PublishedLetters(billing.dlt, billing.config).redrive(chosen, "the last") == 0
    billing.all_read()
    assert billing.took("billing", "a", messages) == [message.id for message in messages]


def test_copies_of_what_a_store_has_parked_are_shown_and_left_to_the_store(billing: Billing) -> None:
    billing.die("a")
    (letter,) = billing.letters()
    name = "accounts payment.request/0/5 17"
    copy = RawOutgoing(billing.dlt, b"a", b"x", (("x-millrace-handler", b"accounts"), ("x-millrace-parked", name.encode())))
    billing.publisher.publish([copy, replace(copy, headers=(*copy.headers[:1], ("x-millrace-parked", b"another")))])
    first, second = (found for found in billing.letters() if found.parked)
    refused = dlt("redrive", first.id, "--yes")
    assert refused.stderr == (
        f"error: copies only, decide where the originals are: {first.id} (parked in the store of accounts)\n"
    )
    result = dlt("discard", "--from", billing.dlt, "--all", "--dry-run", "--json")
    assert json.loads(result.stdout)["letters"] == [letter.id]
    assert "left out: 2" in result.stderr
    billing.publisher.publish([RawOutgoing(billing.dlt, b"a", b"", (("x-millrace-settles", name.encode()),))])
    assert [found.id for found in billing.letters() if found.parked] == [second.id]


def test_a_topic_that_is_not_there_is_wrong_input(billing: Billing) -> None:
    result = dlt("list", "--from", "nobody.dlt")
    assert (result.exit_code, result.stderr) == (2, "error: there is no topic nobody.dlt\n")


def test_a_broker_that_is_away_is_told_of_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    result = dlt("list", "--from", "nobody.dlt")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: nobody.dlt cannot be read: ")
    assert "127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1
