"""A tiny service: accounts that are charged by messages and commands, over each of the three stores.

What a message does is the default (append `Charged`, publish `PaymentChargedEvent`), or what a test scripts for its `customer_id`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.clock import micros
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Context, Decision, Effect, Handlers, Publish, StreamType, TimerFired
from millrace.envelope import encode_headers
from millrace.message import Message, Record
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.engine import Batch, Engine, EngineConfig
from millrace.pipeline.failures import RetryPolicy
from millrace.pipeline.inputs import Input, Result, fired
from millrace.pipeline.staging import Change, Projection
from millrace.pipeline.timers import Timer
from millrace.store.contract import Session, Store
from millrace.store.open import open_store
from millrace.store.sql import Sql
from millrace.testing.clock import SkippingClock
from shop.payment.v1 import payment_messages_pb2 as payment
from shop.types.v1.money_pb2 import Money

GROUP = "accounts"
Script = Callable[[Any, Mapping[str, Any], Context], Decision]


@dataclass(frozen=True, slots=True)
class Charged:
    amount: int
    note: str


@dataclass(frozen=True, slots=True)
class Account:
    total: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deposit:
    """A command of the edge."""

    account: str
    amount: int = 1
    refuse: bool = False
    message_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """The request of an effect."""

    account: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Called:
    """The outcome of an effect."""

    account: str
    note: str = "called"


def evolve(state: Account, event: object) -> Account:
    if isinstance(event, Charged):
        return replace(state, total=state.total + event.amount, notes=(*state.notes, event.note))
    return state


ACCOUNTS = StreamType("account", Account(), evolve, (Charged,))


class OnMessage:
    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts

    def streams(self, body: Any) -> Sequence[str]:
        return [ACCOUNTS.stream(body.order_id)]

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        script = self._scripts.get(getattr(body, "customer_id", ""), charge)
        return script(body, states, context)


class OnTimer:
    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts

    def streams(self, body: TimerFired) -> Sequence[str]:
        return [ACCOUNTS.stream(body.key)]

    def decide(self, body: TimerFired, states: Mapping[str, Any], context: Context) -> Decision:
        if script := self._scripts.get(f"timer {body.id}"):
            return script(body, states, context)
        return Decision([(ACCOUNTS.stream(body.key), Charged(0, f"{body.id} {body.kind} {body.attempt}"))])


class OnDeposit:
    def streams(self, body: Deposit) -> Sequence[str]:
        return [ACCOUNTS.stream(body.account)]

    def decide(self, body: Deposit, states: Mapping[str, Any], context: Context) -> Decision:
        stream = ACCOUNTS.stream(body.account)
        if body.refuse:
            raise KeyError("refused")
        total = states[stream].total + body.amount
        told = [Publish(payment.PaymentDeclinedEvent(order_id=body.account, reason="x" * body.message_bytes))]
        return Decision([(stream, Charged(body.amount, context.message_id))], told if body.message_bytes else [], reply=total)


class OnCalled:
    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts

    def streams(self, body: Called) -> Sequence[str]:
        return [ACCOUNTS.stream(body.account)]

    def decide(self, body: Called, states: Mapping[str, Any], context: Context) -> Decision:
        if script := self._scripts.get(f"called {body.note}"):
            return script(body, states, context)
        return Decision([(ACCOUNTS.stream(body.account), Charged(1, body.note))])


def charge(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
    """The default: take the amount, and say so."""
    stream = ACCOUNTS.stream(body.order_id)
    event = payment.PaymentChargedEvent(order_id=body.order_id, amount=body.amount)
    return Decision(
        [(stream, Charged(body.amount.minor_units, context.message_id))],
        [Publish(event, sequence=len(states[stream].notes) + 1)],
    )


class ReadModel:
    """Writes one row an event; `note` is unique, `doubled` overflows for what is above half of 64 bits. 1313 is a bug."""

    tables = ("model",)

    def apply(self, sql: Sql, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.event.amount == 1313:
                raise KeyError("unshowable")
        sql.each(
            "INSERT INTO model (stream, note, doubled) SELECT stream, note, doubled FROM rows",
            {"stream": "text", "note": "text", "doubled": "bigint"},
            [(c.stream, c.event.note, 2 * c.event.amount) for c in changes if isinstance(c.event, Charged)],
        )


class World:
    """One such service over one store."""

    Charged, Account, Deposit, Call, Called, ACCOUNTS = Charged, Account, Deposit, Call, Called, ACCOUNTS
    group = GROUP
    payment = payment
    charge = staticmethod(charge)

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.clock: Any = SkippingClock()
        self.scripts: dict[str, Script] = {}
        self.session: Session = store.session()
        self.retry = RetryPolicy(3, timedelta(seconds=1), timedelta(seconds=60))
        self.engine = self.new_engine()
        self._offset = 0
        with self.session.transaction() as tx:
            tx.sql.execute("CREATE TABLE model (stream text NOT NULL, note text NOT NULL UNIQUE, doubled bigint NOT NULL)")

    def new_engine(
        self,
        accounts: StreamType[Any] = ACCOUNTS,
        registry: TypeRegistry | None = None,
        group: str = GROUP,
        projections: Sequence[Projection] = (ReadModel(),),
        **config: Any,
    ) -> Engine:
        handlers = Handlers(
            [accounts],
            {
                payment.ChargePaymentCommand: OnMessage(self.scripts), TimerFired: OnTimer(self.scripts), Deposit: OnDeposit(),
                Called: OnCalled(self.scripts),
            },
        )  # fmt: skip
        settings = EngineConfig(group, "/accounts", self.retry, **config)
        types = registry or TypeRegistry.from_modules(payment)
        return Engine(settings, handlers, types, projections, self.clock)

    def message(self, account: str, amount: int = 1, *, does: str = "", **fields: Any) -> Message:
        body = payment.ChargePaymentCommand(order_id=account, customer_id=does, amount=Money(currency="EUR", minor_units=amount))
        return Message(
            "shop.payment.v1.ChargePaymentCommand", body.SerializeToString(), account, "/shop", time=self.clock(), **fields
        )

    def record(self, message: Message, *, topic: str = "payment.request", partition: int = 0) -> Record:
        self._offset += 1
        key = None if message.key is None else message.key.encode()
        return Record(topic, partition, self._offset - 1, key, message.payload, tuple(encode_headers(message)))

    def records(self, *messages: Message) -> list[Record]:
        return [self.record(message) for message in messages]

    def process(
        self, *records: Record, keys: Sequence[str] = (), inputs: Sequence[Input] = (), moves: Any = ()
    ) -> dict[str, Result]:
        batch = Batch([*(self.engine.decoder.decode(record) for record in records), *inputs], moves, keys)
        return self.engine.process(self.session, batch)

    def retry_due(self) -> list[str]:
        """Try what is parked and due; return the keys."""
        with self.session.transaction() as tx:
            keys = tx.parked.due_keys(GROUP, micros(self.clock()), 100)
        if keys:
            self.process(keys=keys)
        return keys

    def fire(self) -> list[Timer]:
        """Fire the timers that are due; return them."""
        timers = self.due_timers()
        if timers:
            self.process(inputs=[fired(timer) for timer in timers])
        return timers

    def due_timers(self) -> list[Timer]:
        with self.session.transaction() as tx:
            return tx.timers.due(GROUP, micros(self.clock()), 100)

    def account(self, account: str) -> Any:
        """Return an account as its events say."""
        with self.session.transaction() as tx:
            state = Account()
            for event in tx.events.read(ACCOUNTS.stream(account)):
                state = evolve(state, msgspec.json.decode(event.data, type=Charged))
            return state

    def notes(self, account: str) -> list[str]:
        return list(self.account(account).notes)

    def outbox(self) -> list[OutboxRow]:
        with self.session.transaction() as tx:
            return tx.outbox.head(10_000)

    def headers(self, row: OutboxRow) -> dict[str, str]:
        return {name: value.decode() for name, value in msgspec.msgpack.decode(row.headers)}

    def parked(self) -> list[tuple[str, str, int, bool]]:
        """Return key, state, attempt and whether it blocks, of each parked message in order."""
        with self.session.transaction() as tx:
            return [(m.key, m.state, m.attempt, m.blocks) for m in tx.parked.list(self.group)]

    def model(self) -> list[tuple[str, str]]:
        with self.session.transaction() as tx:
            return [(row[0], row[1]) for row in tx.sql.execute("SELECT stream, note FROM model")]

    def events(self) -> list[tuple[str, int]]:
        with self.session.transaction() as tx:
            return [(e.stream, e.version) for e in tx.events.read_all()]

    def effect(self, name: str, account: str) -> Effect:
        return Effect(name, Call(account))


@pytest.fixture
def new_world() -> Iterator[Callable[[str], World]]:
    worlds: list[World] = []

    def make(url: str) -> World:
        store = open_store(url)
        store.migrate()
        worlds.append(World(store, url))
        return worlds[-1]

    yield make
    for world in worlds:
        world.session.close()
        world.store.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    make: Callable[[], str] = request.getfixturevalue("postgres_url")
    return make()


@pytest.fixture
def world(new_world: Callable[[str], World], url: str) -> World:
    return new_world(url)
