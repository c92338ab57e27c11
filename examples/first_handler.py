"""Your first handler: it reads orders, and greets each customer on another topic.

python examples/first_handler.py                 on a broker inside this process
python examples/first_handler.py localhost:9092  on Kafka (topics `orders` and `greetings` must exist)
"""

import sys
from collections.abc import Sequence

from millrace.kafka import KafkaConfig, KafkaPublisher, KafkaSubscriber
from millrace.memory import MemoryBroker, MemoryPublisher, MemorySubscriber
from millrace.message import Message
from millrace.middleware import Retry, correlation
from millrace.pubsub import Outgoing, Publisher, Subscriber
from millrace.router import Router, Source


def greet(order: Message) -> Sequence[Outgoing]:
    """Answer an order with a greeting. It returns what to publish; the order is acknowledged once that is done."""
    text = b"Thank you, " + order.payload
    return [Outgoing("greetings", Message(type="example.v1.Greeting", payload=text, key=order.key))]


def run(publisher: Publisher, subscriber: Subscriber) -> None:
    """Place an order, run the handler, and print the greeting that comes back."""
    router = Router(middleware=[Retry(), correlation])
    router.add_handler("greet", Source(subscriber, ["orders"], group="greeter"), greet, publisher)
    router.start()
    publisher.publish([Outgoing("orders", Message(type="example.v1.Order", payload=b"Ada", key="order-1"))])
    greetings = subscriber.subscribe(["greetings"], group="reader")
    while not (records := greetings.receive(max_records=1, timeout_seconds=1.0)):
        router.wait(timeout_seconds=0)  # raises what ended a handler, if anything did
    print((records[0].value or b"").decode())
    greetings.ack(records)
    greetings.close()
    router.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        config = KafkaConfig(sys.argv[1])
        run(KafkaPublisher(config), KafkaSubscriber(config))
    else:
        broker = MemoryBroker()
        run(MemoryPublisher(broker), MemorySubscriber(broker))
