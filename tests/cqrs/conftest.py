from collections.abc import Sequence

import pytest

from millrace.pubsub import Outgoing, Sendable


class RecordingPublisher:
    """Keeps what it is given; fails with `fault` where that is set."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.fault: Exception | None = None

    def publish(self, batch: Sequence[Sendable]) -> None:
        if self.fault:
            raise self.fault
        self.sent += [outgoing for outgoing in batch if isinstance(outgoing, Outgoing)]

    def close(self) -> None: ...


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()
