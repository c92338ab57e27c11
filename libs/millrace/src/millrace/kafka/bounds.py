"""Bounds for those of librdkafka's calls that have none of their own. Used by whoever owns a consumer."""

from collections.abc import Callable
from threading import Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException


def within(timeout_seconds: float, name: str, call: Callable[[], Any]) -> None:
    """Return once `call` did, and raise what it raised, or KafkaException (_TIMED_OUT) after `timeout_seconds`.

    librdkafka's close and synchronous commit wait without bound for a coordinator that went away with a commit under way (seen with
    2.16: over four minutes); so does its send_offsets_to_transaction, whatever bound it is given (seen: over a minute). The call goes on behind, in a thread that does not keep the process alive.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            raised.append(error)

    thread = Thread(target=run, name=f"kafka-{name}", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{name} without an answer within {timeout_seconds:g} s"))
    if raised:
        raise raised[0]
