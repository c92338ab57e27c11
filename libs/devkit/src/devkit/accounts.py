"""A tiny service for tests of faults: accounts, on a Kafka and a store of the test's own.

A `ChargePaymentCommand` is booked on its account, told of (`PaymentChargedEvent`) and has a call made outside; the call's outcome is booked
and told of too (`PaymentRefundedEvent`). So each message has two effects in the store, two messages and one call.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Context, Decision, Effect, Handler, Handlers, Publish, StreamType
from millrace.edge.server import EdgeConfig, EdgeServer
from millrace.kafka.config import KafkaConfig
from millrace.message import Message
from millrace.observability.health import Health
from millrace.outbox.config import RelayConfig
from millrace.pipeline.commands import CommandThread
from millrace.pipeline.consumer import ConsumerConfig
from millrace.pipeline.engine import Engine, EngineConfig
from millrace.pipeline.queries import Queries
from millrace.pipeline.reactors import Reactor
from millrace.run import Service
from millrace.store.contract import Store
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.types.v1.money_pb2 import Money


@dataclass(frozen=True, slots=True)
class Place:
    """Where one such service works: its store, its broker, topics and group, and the file that notes each call made outside.

    A member with an `instance` is a static one. A relay that the store hears nothing of for 6 s has another take over.
    """

    store_url: str
    bootstrap: str
    requests: str
    results: str
    group: str
    calls: str
    instance: str = ""
    session_timeout_seconds: float = 2.0

    def kafka(self) -> KafkaConfig:
        """Return how to reach the broker; what may be under way is waited for 2 s."""
        return KafkaConfig(
            self.bootstrap,
            message_timeout_seconds=1.0,
            session_timeout_seconds=self.session_timeout_seconds,
            group_instance_id=self.instance,
        )


@dataclass(frozen=True, slots=True)
class Booked:
    """An event: what a message, or the outcome of its call, came to."""

    note: str


@dataclass(frozen=True, slots=True)
class Account:
    """What was booked, in order."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """The request of the call outside."""

    account: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Called:
    """The outcome of the call outside."""

    account: str
    message_id: str


ACCOUNTS = StreamType("account", Account(), lambda state, event: replace(state, notes=(*state.notes, event.note)), (Booked,))


class OnMessage:
    """Books a message and asks for its call."""

    def streams(self, body: Any) -> Sequence[str]:
        """Name the account's stream."""
        return [ACCOUNTS.stream(body.order_id)]

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        """Say what follows."""
        stream, message_id = ACCOUNTS.stream(body.order_id), context.message_id
        event = payment.PaymentChargedEvent(order_id=body.order_id, amount=body.amount)
        return Decision(
            [(stream, Booked(message_id))], [Publish(event)], [Effect(f"call {message_id}", Call(body.order_id, message_id))]
        )


class OnOutcome:
    """Books the outcome of a call."""

    def streams(self, body: Called) -> Sequence[str]:
        """Name the account's stream."""
        return [ACCOUNTS.stream(body.account)]

    def decide(self, body: Called, states: Mapping[str, Any], context: Context) -> Decision:
        """Say what follows."""
        event = payment.PaymentRefundedEvent(order_id=body.account)
        return Decision([(ACCOUNTS.stream(body.account), Booked(f"outcome {body.message_id}"))], [Publish(event)])


class _Types(TypeRegistry):
    results = ""

    def topic(self, body_type: Any) -> str:
        return self.results


def engine(place: Place, on_message: Handler | None = None) -> Engine:
    """Return what decides for the service; `on_message` in place of its own handler, if given."""
    types = _Types.from_modules(payment)
    assert isinstance(types, _Types)
    types.results = place.results
    handlers: dict[type, Handler] = {payment.ChargePaymentCommand: on_message or OnMessage(), Called: OnOutcome()}
    config = EngineConfig(place.group, "/accounts", effect_lease=timedelta(seconds=1))
    return Engine(config, Handlers([ACCOUNTS], handlers), types)


def make_call(place: Place) -> Reactor:
    """Return what makes the call: it notes the effect's id in the file."""

    def note(effect_id: str) -> None:
        with Path(place.calls).open("a") as file:
            file.write(f"{effect_id}\n")

    async def call(request: Call, effect_id: str) -> Called:
        await asyncio.to_thread(note, effect_id)
        return Called(request.account, request.message_id)

    return call


def service(place: Place, store: Store, reactor: Reactor) -> Service:
    """Return the whole service, for `millrace.run.run`."""
    health = Health()
    own = engine(place)
    return Service(
        name=place.group,
        store=store,
        kafka=place.kafka(),
        engine=own,
        commands=CommandThread(own, store, health),
        queries=Queries(store),
        health=health,
        edge=EdgeServer(EdgeConfig("127.0.0.1:0"), health, [], []),
        consumer=ConsumerConfig([place.requests], commit_seconds=0.1),
        reactors={Call: reactor},
        relay=RelayConfig(silence_seconds=6.0),
    )


def charge(account: str) -> Message:
    """Return a message to the service."""
    body = payment.ChargePaymentCommand(order_id=account, customer_id="c", amount=Money(currency="EUR", minor_units=1))
    return Message(body.DESCRIPTOR.full_name, body.SerializeToString(), account, "/test")


def booked(store: Store, account: str) -> list[str]:
    """Return what was booked on an account, in order."""
    session = store.session()
    try:
        with session.transaction() as tx:
            return [msgspec.json.decode(event.data, type=Booked).note for event in tx.events.read(ACCOUNTS.stream(account))]
    finally:
        session.close()
