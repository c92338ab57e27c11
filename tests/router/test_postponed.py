"""A message that cannot be handled now rests with its partition, and did not fail."""

from time import monotonic

import pytest

from millrace.errors import Postponed
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message
from millrace.router import Router, RouterSettings, Source
from millrace.testing.pubsub import messages, to
from millrace.testing.waiting import eventually


def test_a_postponed_message_comes_again_when_it_says_and_other_partitions_flow(caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker(partitions=2)
    MemoryPublisher(broker).publish(to("in", messages(40, keys=8)))
    (place,) = {record.partition for record in broker.records("in") if record.value == b"7"}
    behind = {int(r.value or b"") for r in broker.records("in") if r.partition == place and int(r.value or b"") >= 7}
    came: list[tuple[int, float]] = []

    def handle(message: Message) -> None:
        number = int(message.payload)
        came.append((number, monotonic()))
        if [other for other, _ in came].count(7) == 1 and number == 7:
            raise Postponed(0.5)

    router = Router(RouterSettings(poll_seconds=0.02, backoff_seconds=0.01))
    router.add_consumer_handler("h", Source(MemorySubscriber(broker), ["in"], "group"), handle)
    router.start()
    eventually(lambda: sum(broker.committed("group", ("in", p)) for p in (0, 1)) == 40, describe=lambda: came)
    router.close(5)
    first, second = (at for number, at in came if number == 7)
    assert second - first >= 0.5
    assert sorted(number for number, _ in came) == sorted([*range(40), 7])
    assert {number for number, at in came if first < at < second} >= set(range(40)) - behind - {n for n, at in came if at < first}
    assert "message failed" not in caplog.messages
