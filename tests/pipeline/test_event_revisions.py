"""Events stored in old revisions, or under old names, are read as their classes are now; what cannot be read harms its stream alone."""

from dataclasses import dataclass
from typing import Any

import pytest

from millrace.decision import Context, Decision, StreamType, Upcast
from millrace.errors import Undecodable
from millrace.eventstore.events import Append, NewEvent, StoredEvent
from millrace.pipeline.codec import StreamCodec


@dataclass(frozen=True, slots=True)
class Charged:
    """In revision 1 it had `amount` in whole units alone, in revision 2 also a `remark`, which revision 3 calls `note`."""

    amount: int
    note: str
    currency: str


def in_minor_units(event: dict[str, Any]) -> dict[str, Any]:
    return {"amount": event["amount"] * 100, "remark": "none"}


def with_note(event: dict[str, Any]) -> dict[str, Any]:
    return {"amount": event["amount"], "note": event["remark"], "currency": "EUR"}


UPCASTS: dict[type, tuple[Upcast, ...]] = {Charged: (in_minor_units, with_note)}


def stored(data: str, revision: int, name: str = "Charged") -> StoredEvent:
    return StoredEvent("account-a", 1, name, data, revision, 0, (0, 1))


@dataclass(frozen=True, slots=True)
class Account:
    total: int = 0
    notes: tuple[str, ...] = ()


def evolve(state: Account, event: Charged) -> Account:
    return Account(state.total + event.amount, (*state.notes, f"{event.note} {event.currency}"))


def accounts(**fields: Any) -> StreamType[Any]:
    """Return accounts whose events are of the newest revision."""
    fields = {"upcasts": UPCASTS, **fields}
    return StreamType("account", Account(), evolve, (Charged,), snapshot_version=2, **fields)


@pytest.mark.parametrize(
    ("data", "revision", "event"),
    [
        ('{"amount": 5}', 1, Charged(500, "none", "EUR")),
        ('{"amount": 500, "remark": "tea"}', 2, Charged(500, "tea", "EUR")),
        ('{"amount": 500, "note": "tea", "currency": "USD"}', 3, Charged(500, "tea", "USD")),
    ],
)
def test_an_event_of_any_revision_is_read_as_its_class_is_now(data: str, revision: int, event: Charged) -> None:
    assert StreamCodec([accounts()]).event(stored(data, revision)) == event


def test_an_event_is_read_under_the_name_its_class_had() -> None:
    codec = StreamCodec([accounts(formerly={"Debited": Charged})])
    assert codec.event(stored('{"amount": 5}', 1, "Debited")) == Charged(500, "none", "EUR")


def test_a_revision_from_the_future_is_refused_and_not_guessed_at() -> None:
    with pytest.raises(Undecodable, match="revision 4"):
        StreamCodec([accounts()]).event(stored('{"amount": 5, "note": "", "currency": "EUR"}', 4))


def test_upcasts_and_names_of_no_event_are_refused() -> None:
    with pytest.raises(ValueError, match="no events of account: int"):
        accounts(upcasts={int: (with_note,)})
    with pytest.raises(ValueError, match="still in use: Charged"):
        accounts(formerly={"Charged": Charged})


def append_old(world: Any, account: str, *events: NewEvent) -> None:
    with world.session.transaction() as tx:
        tx.events.append([Append(f"account-{account}", 0, events, '{"total": 0}', 1)], 1)


def charge_both(world: Any) -> dict[str, Account]:
    """Have a program that knows the newest revision alone charge the accounts a and b; return the states it decided over."""
    seen: dict[str, Account] = {}

    def decide(body: Any, states: Any, context: Context) -> Decision:
        stream = f"account-{body.order_id}"
        seen[body.order_id] = states[stream]
        return Decision([(stream, Charged(1, "now", "USD"))])

    world.scripts["new"] = decide
    world.engine = world.new_engine(accounts(), projections=())
    world.process(*world.records(*(world.message(account, does="new") for account in ("a", "b"))))
    return seen


def test_a_stream_of_old_revisions_is_folded_and_goes_on_in_the_newest(world: Any) -> None:
    append_old(world, "a", NewEvent("Charged", '{"amount": 5}'), NewEvent("Charged", '{"amount": 7, "remark": "tea"}', 2))
    assert charge_both(world) == {"a": Account(507, ("none EUR", "tea EUR")), "b": Account()}
    with world.session.transaction() as tx:
        events = tx.events.read("account-a")
        assert [event.revision for event in events] == [1, 2, 3]
        assert events[0].data == '{"amount": 5}'
        assert '"total":508' in tx.events.load(["account-a"])["account-a"].state


def test_an_upcast_that_fails_holds_up_its_own_stream_alone(world: Any) -> None:
    append_old(world, "a", NewEvent("Charged", '{"sum": 5}'))
    assert charge_both(world) == {"b": Account()}
    assert world.parked() == [("a", "retry", 1, True)]
