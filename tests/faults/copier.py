"""A program that a test kills: a transactional handler that copies numbered messages. `python copier.py BOOTSTRAP IN OUT GROUP NAME`."""

import sys

from millrace.kafka import KafkaConfig, KafkaTransactionalSubscriber
from millrace.message import Message
from millrace.pubsub import Outgoing
from millrace.router import Router, RouterSettings, TransactionalSource


def main(bootstrap: str, source: str, target: str, group: str, name: str) -> None:
    config = KafkaConfig(bootstrap, group_instance_id=name, session_timeout_seconds=3.0)

    def copy(message: Message) -> list[Outgoing]:
        return [Outgoing(target, Message(type=message.type, payload=message.payload, key=message.key, source=name))]

    router = Router(RouterSettings(max_records=20))
    router.add_transactional_handler("copy", TransactionalSource(KafkaTransactionalSubscriber(config), [source], group), copy)
    router.start()
    router.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
