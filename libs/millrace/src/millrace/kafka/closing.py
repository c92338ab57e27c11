"""Leaving a group without waiting for brokers that are away. Called by whoever owns a consumer, at its end."""

import logging
from collections.abc import Callable
from threading import Thread

from confluent_kafka import Consumer

log = logging.getLogger(__name__)

LEAVE_SECONDS = 5.0


def leave(consumer: Consumer, before: Callable[[], None] | None = None, *, timeout_seconds: float = LEAVE_SECONDS) -> bool:
    """Run `before` (a last commit), close the consumer, and return True; return False if that took longer than `timeout_seconds`.

    librdkafka's close and synchronous commit wait without bound for a coordinator that went away with a commit under way (seen with
    2.16: over four minutes). They go on behind, in a thread that does not keep the process alive; the group drops the member by its
    session time-out. The caller must not touch the consumer again.
    """

    def end() -> None:
        try:
            if before is not None:
                before()
        finally:
            consumer.close()

    ending = Thread(target=end, name="kafka-leave", daemon=True)
    ending.start()
    ending.join(timeout_seconds)
    if ending.is_alive():
        log.warning("left without the broker's answer", extra={"timeout_seconds": timeout_seconds})
    return not ending.is_alive()
