"""A saga's locks keep other sagas out until it ends, or until it has given no sign for a lease; who lost a lock asks for nothing more."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message as Protobuf

from millrace.decision import TimerFired
from millrace.saga import (
    LockState,
    LockTerms,
    SagaDefinition,
    SagaProcess,
    SagaState,
    SagaStatus,
    Step,
    StepStatus,
    Turn,
    lock_stream,
)
from shop.inventory.v1 import inventory_messages_pb2 as inventory
from shop.payment.v1 import payment_messages_pb2 as payment

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
CHARGED, DECLINED, REFUNDED = payment.PaymentChargedEvent(), payment.PaymentDeclinedEvent(), payment.PaymentRefundedEvent()
RESERVED, SHIPPED = inventory.StockReservedEvent(), inventory.StockShippedEvent()
LOCKS = lock_stream()
Resources = tuple[str, ...]


def saga(terms: LockTerms | None = None) -> SagaDefinition[tuple[Resources, Resources]]:
    """Charge under the first resources of the data, reserve under the second, and ship, behind the point of no return."""
    return SagaDefinition(
        "order",
        (
            Step(
                "charge", [payment.PaymentChargedEvent], lambda _: payment.ChargePaymentCommand(), [payment.PaymentDeclinedEvent],
                lambda _, why: payment.RefundPaymentCommand(reason=why), [payment.PaymentRefundedEvent], 10 * SECOND, attempts=2,
                longest_wait=MINUTE, locks=lambda data: data[0],
            ),
            Step(
                "reserve", [inventory.StockReservedEvent], lambda _: inventory.ReserveStockCommand(), [inventory.StockShortEvent],
                lambda *_: inventory.ReleaseStockCommand(), [inventory.StockReleasedEvent], 10 * SECOND, longest_wait=MINUTE,
                locks=lambda data: data[1],
            ),
            Step("ship", [inventory.StockShippedEvent], lambda _: inventory.ShipStockCommand(), attempts=None, longest_wait=MINUTE),
        ),
        lock_terms=terms or LockTerms(lease=4 * MINUTE, wait_at_most=10 * SECOND, try_every=SECOND),
    )  # fmt: skip


class World:
    """Sagas by name, the locks between them, and a clock."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.definition = saga()
        self.locks: dict[str, LockState] = {}
        self.states: dict[str, SagaState] = {}
        self.needs: dict[str, tuple[Resources, Resources]] = {}
        self.turn = Turn(SagaState())

    def process(self, name: str) -> SagaProcess[tuple[Resources, Resources]]:
        state, data = self.states.get(name, SagaState()), self.needs[name]
        known = {resource: self.locks.get(resource, LockState()) for resource in self.definition.resources(data, state)}
        return SagaProcess(self.definition, name, state, data, self.now, known)

    def take(self, name: str, turn: Turn) -> Turn:
        self.turn, self.states[name] = turn, turn.state
        for resource, event in turn.lock_events:
            self.locks[resource] = LOCKS.evolve(self.locks.get(resource, LockState()), event)
        return turn

    def start(self, name: str, first: Resources, second: Resources = ()) -> Turn:
        self.needs[name] = (first, second)
        return self.take(name, self.process(name).start())

    def reply(self, name: str, *bodies: Protobuf) -> Turn:
        for body in bodies:
            self.take(name, self.process(name).reply(body))
        return self.turn

    def fire(self, name: str, step: str, purpose: str) -> Turn:
        attempt = self.states[name].step(step).attempts
        return self.take(name, self.process(name).timer(TimerFired(f"order:{name}:{step}:{purpose}", "order", name, attempt)))

    def wait(self, duration: timedelta) -> None:
        self.now += duration

    def holders(self) -> Mapping[str, str]:
        return {resource: lock.holder for resource, lock in self.locks.items() if lock.holder}

    def step(self, name: str, step: str) -> StepStatus:
        return self.states[name].step(step).status


@pytest.fixture
def world() -> World:
    return World()


def asked(turn: Turn) -> list[str]:
    return [type(request.body).__name__ for request in turn.requests]


def test_a_step_is_asked_for_under_its_locks_which_are_held_to_the_sagas_end(world: World) -> None:
    assert asked(world.start("a", ("x", "y"), ("z",))) == ["ChargePaymentCommand"]
    assert world.holders() == {"x": "a", "y": "a"}
    world.reply("a", CHARGED)
    assert world.holders() == {"x": "a", "y": "a", "z": "a"}
    assert [(lock.resource, lock.token) for lock in world.states["a"].locks] == [("x", 1), ("y", 1), ("z", 1)]
    world.reply("a", RESERVED, SHIPPED)
    assert world.states["a"].status is SagaStatus.COMPLETED
    assert (world.holders(), world.states["a"].locks) == ({}, ())


def test_a_saga_that_fails_gives_its_locks_back_once_it_has_undone_all(world: World) -> None:
    world.start("a", ("x",), ("y",))
    world.reply("a", CHARGED, inventory.StockShortEvent())
    assert world.holders() == {"x": "a", "y": "a"}
    world.reply("a", REFUNDED)
    assert world.states["a"].status is SagaStatus.COMPENSATED
    assert world.holders() == {}


def test_a_saga_waits_for_anothers_lock_and_takes_it_when_it_is_free(world: World) -> None:
    world.start("a", ("x",))
    turn = world.start("b", ("w", "x"))
    assert (asked(turn), world.step("b", "charge")) == ([], StepStatus.AWAITING_LOCK)
    assert world.states["b"].step("charge").detail == "x is held by a"
    assert world.holders() == {"x": "a"}
    [timer] = turn.timers
    assert (timer.id, timer.delay, timer.attempt) == ("order:b:charge:lock", SECOND, 1)
    assert asked(world.fire("b", "charge", "lock")) == []
    world.reply("a", CHARGED, RESERVED, SHIPPED)
    assert asked(world.fire("b", "charge", "lock")) == ["ChargePaymentCommand"]
    assert world.holders() == {"w": "b", "x": "b"}
    assert (world.step("b", "charge"), world.states["b"].waiting_since) == (StepStatus.REQUESTED, None)


def test_a_reply_is_no_answer_to_a_step_that_waits_for_a_lock(world: World) -> None:
    world.start("a", ("x",))
    world.start("b", ("x",))
    assert world.reply("b", CHARGED).events == []


def test_a_saga_that_waits_too_long_turns_back(world: World) -> None:
    world.start("a", ("x",))
    world.start("b", ("x",))
    world.wait(9 * SECOND)
    assert world.fire("b", "charge", "lock").timers
    world.wait(SECOND)
    world.fire("b", "charge", "lock")
    assert (world.states["b"].status, world.states["b"].reason) == (SagaStatus.COMPENSATED, "x is held by a")


def test_a_saga_aborted_while_it_waits_has_nothing_to_undo(world: World) -> None:
    world.start("a", ("x",))
    world.start("b", ("x",))
    turn = world.take("b", world.process("b").abort("cancelled"))
    assert (turn.state.status, turn.requests, turn.cancel_timers) == (SagaStatus.COMPENSATED, [], ["order:b:charge:lock"])


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_of_two_sagas_that_want_each_others_lock_the_younger_turns_back_and_the_older_goes_on(
    world: World, first: str, second: str
) -> None:
    world.start("a", ("x",), ("y",))
    world.wait(SECOND)
    world.start("b", ("y",), ("x",))
    for name in (first, second):
        world.reply(name, CHARGED)
    assert world.states["b"].status is SagaStatus.COMPENSATING
    world.reply("b", REFUNDED)
    world.fire("a", "reserve", "lock")
    world.reply("a", RESERVED, SHIPPED)
    assert [world.states[name].status for name in "ab"] == [SagaStatus.COMPLETED, SagaStatus.COMPENSATED]
    assert world.holders() == {}


def test_a_younger_saga_that_holds_nothing_waits(world: World) -> None:
    world.start("a", ("x",))
    world.wait(SECOND)
    world.start("b", (), ("x",))
    world.reply("b", CHARGED)
    assert world.step("b", "reserve") is StepStatus.AWAITING_LOCK


def test_a_lock_without_a_sign_of_its_holder_is_taken_over_after_its_lease_and_not_before(world: World) -> None:
    world.start("a", ("x",))
    world.wait(4 * MINUTE - SECOND)
    world.start("b", ("x",))
    assert world.holders() == {"x": "a"}
    world.wait(SECOND)
    assert asked(world.fire("b", "charge", "lock")) == ["ChargePaymentCommand"]
    assert world.locks["x"].token == 2


def test_every_turn_of_a_saga_is_a_sign_that_renews_its_locks(world: World) -> None:
    world.start("a", ("x",))
    world.wait(3 * MINUTE)
    world.reply("a", CHARGED)
    world.wait(3 * MINUTE)
    world.start("b", ("x",))
    assert world.holders() == {"x": "a"}
    assert (world.locks["x"].token, world.locks["x"].until) == (1, world.now + MINUTE)
    assert world.states["a"].locks[0].until == world.now + MINUTE


def test_who_lost_a_lock_asks_for_nothing_more_and_undoes_what_it_did(world: World) -> None:
    world.start("a", ("x",))
    world.wait(4 * MINUTE)
    world.start("b", ("x",))
    held = world.states["a"].locks[0]
    assert not world.locks["x"].is_held("a", held.token)
    assert asked(world.reply("a", CHARGED)) == ["RefundPaymentCommand"]
    world.reply("a", REFUNDED)
    assert world.states["a"].reason == "the lock on x was lost"
    assert world.holders() == {"x": "b"}


def test_who_lost_a_lock_does_not_ask_again_either(world: World) -> None:
    world.start("a", ("x",))
    world.wait(4 * MINUTE)
    world.start("b", ("x",))
    assert asked(world.fire("a", "charge", "ask")) == ["RefundPaymentCommand"]


def test_a_lost_lock_that_is_free_again_is_lost_all_the_same(world: World) -> None:
    world.start("a", ("x",))
    world.wait(4 * MINUTE)
    world.start("b", ("x",))
    world.reply("b", DECLINED)
    assert world.holders() == {}
    assert asked(world.reply("a", CHARGED)) == ["RefundPaymentCommand"]


def test_a_token_is_given_out_once(world: World) -> None:
    for token, name in enumerate("abc", start=1):
        world.start(name, ("x",))
        assert world.locks["x"].is_held(name, token)
        assert not world.locks["x"].is_held(name, token - 1)
        assert not world.locks["x"].is_held("another", token)
        world.reply(name, DECLINED)
        assert not world.locks["x"].is_held(name, token)


def test_behind_the_point_of_no_return_a_lost_lock_does_not_stop_a_saga(world: World) -> None:
    world.start("a", ("x",))
    world.reply("a", CHARGED, RESERVED)
    world.wait(4 * MINUTE)
    world.start("b", ("x",))
    assert asked(world.fire("a", "ship", "ask")) == ["ShipStockCommand"]
    assert world.reply("a", SHIPPED).state.status is SagaStatus.COMPLETED
    assert world.holders() == {"x": "b"}


def test_an_expired_lock_that_nobody_took_is_still_its_holders(world: World) -> None:
    world.start("a", ("x",))
    world.wait(9 * MINUTE)
    assert asked(world.reply("a", CHARGED)) == ["ReserveStockCommand"]
    world.start("b", ("x",))
    assert world.holders() == {"x": "a"}


def test_an_owner_can_ask_before_the_start_who_is_in_the_way(world: World) -> None:
    world.start("a", ("x",))
    world.needs["b"] = (("w", "x"), ())
    assert str(world.process("b").kept_out()) == "x is held by a"
    world.needs["c"] = (("w",), ())
    assert world.process("c").kept_out() is None


def test_a_lease_too_short_for_a_sagas_waits_is_refused() -> None:
    with pytest.raises(ValueError, match="twice as long as its longest wait"):
        saga(LockTerms(lease=2 * MINUTE - SECOND))
    assert saga(LockTerms()).lease == 3 * MINUTE


def test_a_lock_first_needed_behind_the_point_of_no_return_is_refused() -> None:
    step: Step[None] = Step(
        "ship", [inventory.StockShippedEvent], lambda _: inventory.ShipStockCommand(), attempts=None, locks=lambda _: "x"
    )
    with pytest.raises(ValueError, match="an earlier step"):
        SagaDefinition("order", (step,))
