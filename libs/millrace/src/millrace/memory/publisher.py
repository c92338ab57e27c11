"""Publisher into the broker in memory."""

from collections.abc import Sequence

from millrace.envelope import encode_headers
from millrace.memory.broker import MemoryBroker
from millrace.pubsub import RawOutgoing, Sendable


class MemoryPublisher:
    """Keeps the Publisher promise: a batch is there for every reader when `publish` returns."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._closed = False

    def publish(self, batch: Sequence[Sendable]) -> None:
        """Append in order."""
        if self._closed:
            raise RuntimeError("the publisher is closed")
        with self._broker.changed:
            for item in batch:
                if isinstance(item, RawOutgoing):
                    self._broker.append(item.topic, item.key, item.value, item.headers)
                else:
                    message = item.message
                    key = None if message.key is None else message.key.encode()
                    self._broker.append(item.topic, key, message.payload, encode_headers(message))

    def close(self) -> None:
        """Accept no more batches. Calling it twice does nothing."""
        self._closed = True
