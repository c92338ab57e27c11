"""Leaving a group without waiting for brokers that are away. Called by whoever owns a consumer, at its end."""

import logging
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException

from millrace.kafka.bounds import within

log = logging.getLogger(__name__)

LEAVE_SECONDS = 5.0


def leave(consumer: Consumer, before: Callable[[], None] | None = None, *, timeout_seconds: float = LEAVE_SECONDS) -> bool:
    """Run `before` (a last commit), close the consumer, and return True; return False if that took longer than `timeout_seconds`.

    Past that it goes on behind, and the group drops the member by its session time-out. The caller must not touch the consumer again.
    """

    def end() -> None:
        try:
            if before is not None:
                before()
        finally:
            consumer.close()

    try:
        within(timeout_seconds, "leave", end)
    except KafkaException as silent:
        log.warning("left without the broker's answer", extra={"reason": str(silent)})
        return False
    return True
