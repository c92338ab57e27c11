"""What people decide about parked messages: redriven ones keep their key's order, discarded ones let go on what waits behind them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from millrace.cqrs.registry import TypeRegistry
from millrace.dead_letters.letter import Wanted
from millrace.dead_letters.stored import StoredLetters
from millrace.decision import Context, Decision, Handlers
from millrace.errors import Refused, TransientError, Undecodable
from millrace.message import Message
from millrace.pipeline.attempt import lock_id
from millrace.pipeline.engine import Engine

DEAD = Wanted()


@pytest.fixture
def letters(world: Any) -> Iterator[StoredLetters]:
    found = StoredLetters("accounts", world.store, world.clock)
    yield found
    found.close()


@pytest.fixture
def poison(world: Any) -> Callable[[Exception], Callable[[], None]]:
    """Have messages marked "poison" raise an error; return what mends them."""

    def of(error: Exception) -> Callable[[], None]:
        def fail(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
            raise error

        world.scripts["poison"] = fail
        return lambda: world.scripts.pop("poison")

    return of


def garbage(key: str) -> Message:
    return Message("shop.payment.v1.ChargePaymentCommand", b"\xff\xff\xff", key)


def test_redriven_messages_are_handled_in_their_keys_order(world: Any, letters: StoredLetters, poison: Any) -> None:
    mend = poison(Refused("no"))
    messages = [world.message("a", does="poison"), *(world.message("a") for _ in range(3))]
    world.process(*world.records(*messages))
    mend()
    assert letters.redrive(letters.find(DEAD), "somebody") == 1
    later = world.message("a")
    world.process(world.record(later))
    world.retry_due()
    assert world.notes("a") == [message.id for message in [*messages, later]]
    assert world.parked() == []


def test_a_redriven_message_has_all_its_attempts_again_and_dies_with_a_new_copy(
    world: Any, letters: StoredLetters, poison: Any
) -> None:
    poison(TransientError("busy"))
    world.process(*world.records(world.message("a", does="poison"), world.message("a")))
    for life in (1, 2):
        for _ in range(2):
            world.clock.skip(timedelta(minutes=2))
            world.retry_due()
        assert world.parked()[0] == ("a", "dead", 3, True)
        copies = [row for row in world.outbox() if "x-millrace-parked" in world.headers(row)]
        assert len({world.headers(row)["x-millrace-parked"] for row in copies}) == life
        letters.redrive(letters.find(DEAD), "somebody")
        world.retry_due()
        assert world.parked() == [("a", "retry", 1, True), ("a", "retry", 0, True)]


def test_a_discarded_head_lets_go_on_what_waits_behind_it(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    before, bad, behind = world.message("a"), world.message("a", does="poison"), [world.message("a") for _ in range(3)]
    world.process(*world.records(before, bad, *behind))
    assert letters.discard(letters.find(DEAD), "somebody") == 1
    world.retry_due()
    assert world.notes("a") == [message.id for message in [before, *behind]]
    assert world.parked() == []


def test_what_was_decided_is_noted_behind_the_copy_on_the_dead_letter_topic(
    world: Any, letters: StoredLetters, poison: Any
) -> None:
    poison(Refused("no"))
    world.process(*world.records(world.message("a", does="poison"), world.message("b", does="poison")))
    letters.discard(letters.find(Wanted(key="a")), "ann@desk")
    letters.redrive(letters.find(Wanted(key="b")), "bob@desk")
    copies, notes = world.outbox()[:2], world.outbox()[2:]
    assert [(row.topic, row.key, row.payload) for row in notes] == [
        ("payment.request.dlt", b"a", b""),
        ("payment.request.dlt", b"b", b""),
    ]
    for copy, note, outcome in zip(copies, notes, (("discarded", "ann@desk"), ("redriven", "bob@desk")), strict=True):
        headers = world.headers(note)
        assert headers["x-millrace-settles"] == world.headers(copy)["x-millrace-parked"]
        assert (headers["x-millrace-outcome"], headers["x-millrace-by"]) == outcome


def test_what_is_not_dead_any_more_is_left_out(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    world.process(*world.records(world.message("a", does="poison"), world.message("b", does="poison")))
    seen = letters.find(DEAD)
    letters.discard(seen[:1], "somebody else")
    assert letters.redrive(seen, "somebody") == 1
    assert letters.discard(seen, "somebody") == 0
    assert world.parked() == [("b", "retry", 0, True)]


def test_more_keys_than_one_transaction_locks_are_redriven(world: Any, letters: StoredLetters, poison: Any) -> None:
    mend = poison(Refused("no"))
    keys = [f"k{n}" for n in range(510)]
    first = [world.message(key, does="poison") for key in keys]
    world.process(*world.records(*first))
    mend()
    assert letters.redrive(letters.find(DEAD), "somebody") == 510
    while world.retry_due():
        pass
    assert [world.notes(key) for key in ("k0", "k509")] == [[first[n].id] for n in (0, 509)]
    assert world.parked() == []


def test_a_decision_waits_for_a_batch_that_works_on_the_key(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    world.process(world.record(world.message("a", does="poison")))
    dead = letters.find(DEAD)
    deciding = threading.Thread(target=lambda: letters.discard(dead, "somebody"))
    with world.session.transaction() as tx:
        tx.sql.lock([lock_id(world.group, "a")])
        deciding.start()
        deciding.join(0.3)
        assert deciding.is_alive()
        assert len(tx.parked.list(world.group)) == 1
    deciding.join(30)
    assert world.parked() == []


def test_garbage_behind_a_dead_head_dies_at_once_and_holds_nobody_up(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    good = world.message("a")
    world.process(*world.records(world.message("a", does="poison"), garbage("a"), good))
    assert world.parked() == [("a", "dead", 1, True), ("a", "dead", 1, False), ("a", "retry", 0, True)]
    letters.discard(letters.find(Wanted(reason="refused")), "somebody")
    world.retry_due()
    assert world.notes("a") == [good.id]


def test_redriven_garbage_dies_again_and_holds_nobody_up(world: Any, letters: StoredLetters) -> None:
    good = world.message("a")
    world.process(*world.records(garbage("a"), good))
    assert letters.redrive(letters.find(DEAD), "somebody") == 1
    world.retry_due()
    assert world.parked() == [("a", "dead", 1, False)]
    later = world.message("a")
    world.process(world.record(later))
    assert world.notes("a") == [good.id, later.id]


class Old(TypeRegistry):
    """Types of a version that cannot read the message yet."""

    def decode(self, message: Message) -> Any:
        raise Undecodable("of a newer version")


def by_an_old_version(world: Any, *messages: Message, knows_the_type: bool = False) -> None:
    """Have messages processed by a version that cannot read them, or knows their type and has no handler for it."""
    types = (TypeRegistry if knows_the_type else Old).from_modules(world.payment)
    newer = world.engine
    world.engine = Engine(newer.config, Handlers([world.ACCOUNTS], {}), types, clock=world.clock)
    world.process(*world.records(*messages))
    world.engine = newer


@pytest.mark.parametrize("knows_the_type", [False, True])
def test_what_an_old_version_could_not_read_is_handled_once_when_redriven(
    world: Any, letters: StoredLetters, knows_the_type: bool
) -> None:
    message = world.message("a")
    by_an_old_version(world, message, message, knows_the_type=knows_the_type)
    assert world.parked() == [("a", "dead", 1, False)] * 2
    assert letters.redrive(letters.find(DEAD), "somebody") == 2
    world.retry_due()
    assert world.notes("a") == [message.id]
    world.process(world.record(message))
    assert world.notes("a") == [message.id]
    assert world.parked() == []


def test_what_came_again_and_was_handled_is_no_work_when_redriven(world: Any, letters: StoredLetters) -> None:
    message = world.message("a")
    by_an_old_version(world, message)
    world.process(world.record(message))
    assert world.notes("a") == [message.id]
    letters.redrive(letters.find(DEAD), "somebody")
    world.retry_due()
    assert world.notes("a") == [message.id]
    assert world.parked() == []


def test_a_handler_that_fails_what_was_redriven_unread_has_it_block_its_key(
    world: Any, letters: StoredLetters, poison: Any
) -> None:
    mend = poison(TransientError("busy"))
    message, behind = world.message("a", does="poison"), world.message("a")
    by_an_old_version(world, message)
    letters.redrive(letters.find(DEAD), "somebody")
    world.retry_due()
    world.process(world.record(behind))
    assert world.parked() == [("a", "retry", 1, True), ("a", "retry", 0, True)]
    mend()
    world.clock.skip(timedelta(seconds=1))
    world.retry_due()
    assert world.notes("a") == [message.id, behind.id]


def test_what_was_redriven_unread_waits_while_its_key_is_blocked(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    unread = world.message("a")
    world.process(world.record(world.message("a", does="poison")))
    by_an_old_version(world, unread)
    letters.redrive(letters.find(Wanted(reason="newer version")), "somebody")
    world.retry_due()
    assert world.notes("a") == []
    letters.discard(letters.find(DEAD), "somebody")
    world.retry_due()
    assert world.notes("a") == [unread.id]


def test_a_record_sent_again_for_another_handler_is_passed_over(world: Any) -> None:
    ours, theirs = (
        world.message("a", headers={"x-millrace-for": world.group}),
        world.message("a", headers={"x-millrace-for": "b"}),
    )
    unreadable = replace(world.record(garbage("a")), headers=(("x-millrace-for", b"another"),))
    world.process(world.record(theirs), unreadable, world.record(ours))
    assert world.notes("a") == [ours.id]
    assert world.parked() == []
    theirs = replace(theirs, headers={})
    world.process(world.record(theirs))
    assert world.notes("a") == [ours.id, theirs.id]


def test_letters_tell_their_state_and_how_much_waits_behind_them(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("no"))
    world.scripts["later"] = lambda body, states, context: (_ for _ in ()).throw(TransientError("busy"))
    bad = world.record(world.message("a", does="poison"))
    world.process(bad, *world.records(world.message("a"), world.message("a"), world.message("b", does="later"), garbage("c")))
    found = letters.find(Wanted(state=""))
    assert [(letter.key, letter.state, letter.waiting) for letter in found] == [
        ("a", "dead", 2),
        ("a", "waiting", 0),
        ("a", "waiting", 0),
        ("b", "retry", 0),
        ("c", "dead", 0),
    ]
    assert found[0].record == replace(bad, value=None)
    whole = letters.get(found[0].id)
    assert whole is not None
    assert whole.record == bad
    assert (whole.type, whole.handler, whole.attempts, whole.at) == (
        "shop.payment.v1.ChargePaymentCommand",
        world.group,
        1,
        world.clock(),
    )
    assert letters.get("accounts:999") is None


def test_letters_are_found_by_every_filter(world: Any, letters: StoredLetters, poison: Any) -> None:
    poison(Refused("the customer is blocked"))
    start = world.clock()
    world.process(world.record(world.message("a", does="poison")))
    world.clock.skip(timedelta(hours=1))
    world.process(world.record(garbage("b"), topic="payment.result"))
    first, second = letters.find(DEAD)
    hour = start + timedelta(hours=1)
    for wanted, found in (
        (Wanted(handler=world.group), [first, second]),
        (Wanted(handler="another"), []),
        (Wanted(topic="payment.result"), [second]),
        (Wanted(key="a"), [first]),
        (Wanted(type="ChargePaymentCommand", key="b"), [second]),
        (Wanted(type="shop.payment.v1.ChargePaymentCommand"), [first, second]),
        (Wanted(type="v1.ChargePaymentCommand"), []),
        (Wanted(reason="CUSTOMER is"), [first]),
        (Wanted(since=hour), [second]),
        (Wanted(until=hour), [first]),
        (Wanted(state="waiting"), []),
    ):
        assert letters.find(wanted) == found, wanted
    assert letters.find(DEAD, 1) == [first]
