"""Sagas with locks over one PostgreSQL: two processes, each with an engine and a session of its own and a thread, and a partner that answers.

Time is a clock that the test moves, so that a bound is a bound however busy the machine is.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from millrace.clock import micros
from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Context, Decision, Handler, Handlers, Publish, StreamType, TimerFired
from millrace.errors import Refused
from millrace.eventstore.events import StoredEvent
from millrace.message import new_id
from millrace.outbox.outbox import OutboxRow
from millrace.pipeline.engine import Batch, Engine, EngineConfig
from millrace.pipeline.inputs import Input, fired
from millrace.saga import LockTerms, SagaDefinition, SagaProcess, SagaState, SagaStatus, Step, lock_stream, saga_stream
from millrace.store.contract import Session, Store
from millrace.store.open import open_store
from millrace.testing.clock import SkippingClock
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment

SECOND = timedelta(seconds=1)
LEASE, PATIENCE = 60 * SECOND, 10 * SECOND
LOCKS, SAGAS = lock_stream(), saga_stream("saga")


@dataclass(frozen=True, slots=True)
class Needs:
    """The event, and the state, of what a saga locks first and second."""

    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The event of a record written under a lock."""

    saga: str
    token: int


@dataclass(frozen=True, slots=True)
class Start:
    saga: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class Answer:
    saga: str
    body: Any


@dataclass(frozen=True, slots=True)
class Write:
    saga: str
    resource: str
    token: int


NEEDS = StreamType("needs", Needs(), lambda _, event: event, (Needs,))
RECORDS = StreamType("record", Written("", 0), lambda _, event: event, (Written,))
TRANSFER: SagaDefinition[tuple[str, Needs]] = SagaDefinition(
    "transfer",
    (
        Step(
            "charge", [payment.PaymentChargedEvent], lambda data: payment.ChargePaymentCommand(order_id=data[0]),
            [payment.PaymentDeclinedEvent], lambda data, _: payment.RefundPaymentCommand(order_id=data[0]), [payment.PaymentRefundedEvent],
            5 * SECOND, longest_wait=20 * SECOND, locks=lambda data: data[1].first,
        ),
        Step(
            "reserve", [inventory.StockReservedEvent], lambda data: inventory.ReserveStockCommand(order_id=data[0]),
            [inventory.StockShortEvent], lambda data, _: inventory.ReleaseStockCommand(order_id=data[0]), [inventory.StockReleasedEvent],
            5 * SECOND, longest_wait=20 * SECOND, locks=lambda data: data[1].second,
        ),
    ),
    lock_terms=LockTerms(LEASE, PATIENCE, SECOND),
)  # fmt: skip
ANSWERS: Mapping[str, Any] = {
    "ChargePaymentCommand": payment.PaymentChargedEvent(),
    "RefundPaymentCommand": payment.PaymentRefundedEvent(),
    "ReserveStockCommand": inventory.StockReservedEvent(),
    "ReleaseStockCommand": inventory.StockReleasedEvent(),
}


def needs_of(body: Any, saga: str, states: Mapping[str, Any]) -> Needs:
    needs: Needs = body.needs if isinstance(body, Start) else states[NEEDS.stream(saga)]
    return needs


class Transfers:
    """Runs the sagas: decides their start, answers and timers."""

    def streams(self, body: Any) -> Sequence[str]:
        saga = self._saga(body)
        return [SAGAS.stream(saga), NEEDS.stream(saga)]

    def more_streams(self, body: Any, states: Mapping[str, Any]) -> Sequence[str]:
        saga = self._saga(body)
        data = (saga, needs_of(body, saga, states))
        return [LOCKS.stream(resource) for resource in TRANSFER.resources(data, states[SAGAS.stream(saga)])]

    def decide(self, body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        saga = self._saga(body)
        state, needs = states[SAGAS.stream(saga)], needs_of(body, saga, states)
        resources = TRANSFER.resources((saga, needs), state)
        locks = {resource: states[LOCKS.stream(resource)] for resource in resources}
        process = SagaProcess(TRANSFER, saga, state, (saga, needs), context.now, locks)
        match body:
            case Start():
                turn = process.start()
            case Answer(body=answer):
                turn = process.reply(answer)
            case _:
                turn = process.timer(body)
        events: list[tuple[str, object]] = [(SAGAS.stream(saga), event) for event in turn.events]
        events += [(LOCKS.stream(resource), event) for resource, event in turn.lock_events]
        if isinstance(body, Start):
            events.append((NEEDS.stream(saga), needs))
        asked = [Publish(request.body, deadline=request.deadline) for request in turn.requests if request.body is not None]
        return Decision(events, asked, timers=turn.timers, cancel_timers=turn.cancel_timers)

    def _saga(self, body: Any) -> str:
        saga: str = body.key if isinstance(body, TimerFired) else body.saga
        return saga


class Records:
    """Writes what a lock covers; `pause` runs in the middle of it."""

    def __init__(self) -> None:
        self.pause: Callable[[], object] = lambda: None

    def streams(self, body: Write) -> Sequence[str]:
        return [LOCKS.stream(body.resource), RECORDS.stream(body.resource)]

    def decide(self, body: Write, states: Mapping[str, Any], context: Context) -> Decision:
        if not states[LOCKS.stream(body.resource)].is_held(body.saga, body.token):
            raise Refused(f"{body.saga} has lost the lock on {body.resource}")
        self.pause()
        return Decision([(RECORDS.stream(body.resource), Written(body.saga, body.token))])


class Process:
    """One of the processes over the database."""

    def __init__(self, store: Store, clock: SkippingClock) -> None:
        transfers, self.records = Transfers(), Records()
        handlers: dict[type, Handler] = {Start: transfers, Answer: transfers, TimerFired: transfers, Write: self.records}
        self.session: Session = store.session()
        self.engine = Engine(
            EngineConfig("transfers", "/test"), Handlers((LOCKS, SAGAS, NEEDS, RECORDS), handlers),
            TypeRegistry.from_modules(payment, inventory), clock=clock,
        )  # fmt: skip

    def decide(self, *bodies: Any) -> list[Exception | None]:
        return self.process([Input(new_id(), getattr(body, "saga", ""), body, {}) for body in bodies])

    def process(self, inputs: Sequence[Input]) -> list[Exception | None]:
        results = self.engine.process(self.session, Batch(inputs))
        return [results[source.id].error for source in inputs]


class World:
    """Two processes, and the partner that answers what they ask for."""

    lease, patience = LEASE, PATIENCE

    def __init__(self, url: str) -> None:
        self.clock = SkippingClock()
        self.store = open_store(url)
        self.store.migrate()
        self.processes = (self.new_process(), self.new_process())
        self._session = self.store.session()
        self._threads = ThreadPoolExecutor(2)
        self.began = self.clock()

    def close(self) -> None:
        self._threads.shutdown()
        for session in (self._session, *(process.session for process in self.processes)):
            session.close()
        self.store.close()

    def new_process(self) -> Process:
        return Process(self.store, self.clock)

    def start(self, saga: str, first: str, *second: str) -> Start:
        """Return the start of a saga that locks `first`, and later `second`."""
        return Start(saga, Needs((first,), second))

    def write(self, saga: str, resource: str, token: int) -> Write:
        return Write(saga, resource, token)

    def answer(self, saga: str, body: Any) -> Answer:
        return Answer(saga, body)

    def submit(self, number: int, body: Any) -> "Future[list[Exception | None]]":
        """Have a process decide something in its thread."""
        return self._threads.submit(self.processes[number].decide, body)

    def waits_for_a_row(self) -> bool:
        with self._session.transaction() as tx:
            return bool(
                tx.sql.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
            )

    def at_once(self, *works: Callable[[Process], Any]) -> list[Any]:
        """Have each process do its work while the other does."""
        return [f.result(60) for f in [self._threads.submit(work, self.processes[n]) for n, work in enumerate(works)]]

    def second(self, chance: random.Random, *, silent: Sequence[str] = ()) -> None:
        """Let a second pass: both processes find the same timers, and the partner's answers come to either. It has none for `silent` sagas."""
        self.clock.skip(SECOND)
        with self._session.transaction() as tx:
            due = [fired(timer) for timer in tx.timers.due("transfers", micros(self.clock()), 1000)]
            asked = [row for row in tx.outbox.head(1000) if (row.key or b"").decode() not in silent]
            tx.outbox.delivered(asked, micros(self.clock()))
        answers: tuple[list[Input], list[Input]] = ([], [])
        for row in asked:
            chance.choice(answers).append(self._answer(row))
        chance.shuffle(due)
        self.at_once(lambda process: process.process([*due, *answers[0]]), lambda process: process.process([*answers[1], *due]))

    def statuses(self) -> dict[str, SagaStatus]:
        with self._session.transaction() as tx:
            rows = tx.sql.execute("SELECT id, state FROM stream WHERE id LIKE 'saga-%'")
        return {name.removeprefix("saga-"): msgspec.json.decode(state, type=SagaState).status for name, state in rows}

    def locks(self) -> dict[str, tuple[str, int]]:
        with self._session.transaction() as tx:
            rows = tx.sql.execute("SELECT id, state FROM stream WHERE id LIKE 'lock-%'")
        found = {name.removeprefix("lock-"): msgspec.json.decode(state, type=type(LOCKS.initial)) for name, state in rows}
        return {resource: (lock.holder, lock.token) for resource, lock in found.items() if lock.holder}

    def history(self, stream: str) -> list[StoredEvent]:
        with self._session.transaction() as tx:
            return [event for event in tx.events.read_all(limit=10_000) if event.stream.startswith(stream)]

    def check_holders(self) -> None:
        """Check, lock by lock, that it was taken free or expired, each time under a greater token."""
        for resource in ("x", "y", "z"):
            holder, token, until = "", 0, 0
            for event in self.history(f"lock-{resource}"):
                data = msgspec.json.decode(event.data)
                if event.type == "LockTaken":
                    assert not holder or until <= event.recorded_at, f"{resource} taken from {holder}"
                    assert data["token"] > token
                    holder, token = data["holder"], data["token"]
                if event.type == "LockReleased":
                    assert data["token"] == token
                    holder = ""
                else:
                    until = micros(datetime.fromisoformat(data["until"]))

    def finish(self, chance: random.Random, within: timedelta) -> None:
        """Let time pass until every saga is finished."""
        while not all(status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED) for status in self.statuses().values()):
            assert self.clock() - self.began < within, (self.statuses(), self.locks())
            self.second(chance)

    def _answer(self, row: OutboxRow) -> Input:
        headers = dict(msgspec.msgpack.decode(row.headers))
        saga = (row.key or b"").decode()
        return Input(new_id(), saga, Answer(saga, ANSWERS[headers["ce_type"].decode().rpartition(".")[2]]), {})


@pytest.fixture
def world(postgres_url: Callable[[], str]) -> Iterator[World]:
    world = World(postgres_url())
    yield world
    world.close()
