"""What holds when the broker itself is restarted under load."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from millrace.errors import TransientError
from millrace.pubsub import Outgoing
from millrace.testing.pubsub.kit import PATIENCE_SECONDS, NewTopic, PubSub, batches, member, payloads
from millrace.testing.waiting import eventually

_MESSAGES = 2000
_AHEAD = 200
"""How far publishers may be ahead of the reader, so that they are still at it when the broker is restarted."""


class RestartConformance:
    """For brokers that keep what they have; `restart` restarts it and returns once it is back."""

    def test_restarts_under_load_lose_nothing(self, pubsub: PubSub, new_topic: NewTopic, restart: Callable[[], None]) -> None:
        topic = new_topic(partitions=3)
        seen: set[int] = set()
        give_up_at = monotonic() + 4 * PATIENCE_SECONDS

        def in_time() -> bool:
            assert monotonic() < give_up_at, f"{len(seen)} of {_MESSAGES} seen"
            return True

        def publish(batch: list[Outgoing]) -> None:
            first = int(batch[0].message.payload)
            eventually(lambda: len(seen) >= first - _AHEAD, 4 * PATIENCE_SECONDS, lambda: len(seen))
            while in_time():
                try:
                    pubsub.publisher.publish(batch)
                except TransientError:
                    continue
                return

        def read() -> None:
            with member(pubsub, topic) as subscription:
                while len(seen) < _MESSAGES and in_time():
                    try:
                        records = subscription.receive(50, 0.2)
                    except TransientError:
                        continue
                    seen.update(payloads(records))
                    subscription.ack(records)

        with ThreadPoolExecutor(12) as pool:
            reader = pool.submit(read)
            publishers = [pool.submit(publish, batch) for batch in batches(topic, _MESSAGES, keys=40, size=20)]
            for part in (3, 2):
                eventually(lambda part=part: len(seen) >= _MESSAGES // part, 2 * PATIENCE_SECONDS, lambda: len(seen))  # type: ignore[misc]
                restart()
            for one in (*publishers, reader):
                one.result()
        assert seen == set(range(_MESSAGES))
