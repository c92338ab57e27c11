"""One message fails: it is parked with its key's successors, tried again in order or dead with a copy, and the rest commits."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from millrace.decision import Context, Decision
from millrace.errors import Refused, TransientError
from millrace.eventstore.events import Append, NewEvent
from millrace.message import Message
from millrace.pipeline.inputs import Input


@pytest.fixture
def fail(world: Any) -> Callable[[str, Exception | None], None]:
    """Say what messages with this mark raise; None: they are charged again."""

    def script(does: str, error: Exception | None) -> None:
        def raising(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
            assert error is not None
            raise error

        world.scripts[does] = raising
        if error is None:
            del world.scripts[does]

    return script


Fail = Callable[[str, Exception | None], None]


def test_a_failing_message_parks_its_keys_successors_and_the_rest_commits(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    before, bad, behind, other = world.message("a"), world.message("a", does="fail"), world.message("a"), world.message("b")
    world.process(*world.records(before, bad, behind, other))
    assert world.notes("a") == [before.id]
    assert world.notes("b") == [other.id]
    assert world.parked() == [("a", "retry", 1, True), ("a", "retry", 0, True)]
    world.process(*world.records(world.message("a"), world.message("b")))
    assert len(world.notes("a")) == 1
    assert len(world.notes("b")) == 2
    assert [key for key, *_ in world.parked()] == ["a", "a", "a"]


def test_a_transient_failure_is_tried_again_with_back_off_and_its_key_goes_on_in_order(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    messages = [world.message("a", does="fail"), world.message("a"), world.message("a")]
    world.process(*world.records(*messages))
    assert world.retry_due() == []
    world.clock.skip(timedelta(seconds=1))
    assert world.retry_due() == ["a"]
    assert world.parked()[0] == ("a", "retry", 2, True)
    world.clock.skip(timedelta(seconds=1.9))
    assert world.retry_due() == []
    fail("fail", None)
    world.clock.skip(timedelta(seconds=0.1))
    assert world.retry_due() == ["a"]
    assert world.notes("a") == [message.id for message in messages]
    assert world.parked() == []
    last = world.message("a")
    world.process(world.record(last))
    assert world.notes("a")[-1] == last.id


def test_what_arrives_with_the_retry_of_its_key_comes_behind_it(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    first, second = world.message("a", does="fail"), world.message("a")
    world.process(world.record(first))
    world.clock.skip(timedelta(seconds=1))
    fail("fail", None)
    world.process(world.record(second), keys=["a"])
    world.retry_due()
    assert world.notes("a") == [first.id, second.id]


def test_a_head_that_fails_again_keeps_its_successors_parked(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    world.process(*world.records(world.message("a", does="fail"), world.message("a")))
    world.clock.skip(timedelta(seconds=1))
    world.retry_due()
    assert world.notes("a") == []
    assert [attempt for _, _, attempt, _ in world.parked()] == [2, 0]


def test_a_transient_failure_is_dead_after_its_last_attempt(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("never"))
    world.process(world.record(world.message("a", does="fail")))
    for _ in range(2):
        assert world.outbox() == []
        world.clock.skip(timedelta(minutes=1))
        world.retry_due()
    assert world.parked() == [("a", "dead", 3, True)]
    assert [row.topic for row in world.outbox()] == ["payment.request.dlt"]
    world.clock.skip(timedelta(days=1))
    assert world.retry_due() == []


@pytest.mark.parametrize("error", [Refused("no"), ValueError("a bug"), AssertionError()])
def test_a_permanent_failure_is_dead_at_once_with_a_copy_of_its_raw_bytes(world: Any, fail: Fail, error: Exception) -> None:
    fail("fail", error)
    message = world.message("a", does="fail", headers={"x-own": "kept"})
    record = world.record(message)
    world.process(record)
    assert world.parked() == [("a", "dead", 1, True)]
    (row,) = world.outbox()
    headers = world.headers(row)
    assert (row.topic, row.key, row.payload) == ("payment.request.dlt", record.key, record.value)
    assert headers["ce_id"] == message.id
    assert headers["x-own"] == "kept"
    assert type(error).__name__ in headers["x-millrace-error"]
    assert (headers["x-millrace-topic"], headers["x-millrace-offset"]) == ("payment.request", str(record.offset))


def test_a_dead_message_holds_its_key_until_it_is_released(world: Any, fail: Fail) -> None:
    fail("fail", Refused("no"))
    behind = world.message("a")
    world.process(*world.records(world.message("a", does="fail"), behind))
    assert world.retry_due() == []
    with world.session.transaction() as tx:
        tx.parked.release(tx.parked.list(world.group)[:1])
    assert world.retry_due() == ["a"]
    assert world.notes("a") == [behind.id]


def test_a_copy_of_a_parked_message_is_a_duplicate(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    message = world.message("a", does="fail")
    world.process(world.record(message))
    world.process(world.record(message))
    assert len(world.parked()) == 1
    fail("fail", None)
    world.clock.skip(timedelta(seconds=1))
    world.retry_due()
    assert world.notes("a") == [message.id]


@pytest.mark.parametrize(
    ("payload", "kind"), [(b"\xff\xff\xff", "shop.payment.v1.ChargePaymentCommand"), (b"", "shop.nobody.v1.KnowsThis")]
)
def test_bytes_nobody_can_read_are_dead_and_do_not_block_their_key(world: Any, payload: bytes, kind: str) -> None:
    behind = world.message("a")
    world.process(*world.records(Message(kind, payload, "a"), behind))
    assert world.notes("a") == [behind.id]
    assert world.parked() == [("a", "dead", 1, False)]
    (dead,) = (row for row in world.outbox() if row.topic == "payment.request.dlt")
    assert dead.payload == payload
    later = world.message("a")
    world.process(world.record(later))
    assert world.notes("a") == [behind.id, later.id]


def test_a_known_type_without_a_handler_is_dead_and_blocks_nothing_it_could_not_depend_on(world: Any) -> None:
    body = world.payment.RefundPaymentCommand(order_id="a")
    after = world.message("a")
    world.process(*world.records(Message("shop.payment.v1.RefundPaymentCommand", body.SerializeToString(), "a"), after))
    assert world.parked() == [("a", "dead", 1, False)]
    assert world.notes("a") == [after.id]


def test_a_tombstone_and_a_record_without_headers_are_dead(world: Any) -> None:
    from millrace.message import Record

    records = [
        Record("payment.request", 0, 0, b"a", None),
        Record("payment.request", 0, 1, None, b"x"),
        Record("payment.request", 0, 2, b"\xff\x00", b"x"),
    ]
    world.process(*records)
    assert [(state, blocks) for _, state, _, blocks in world.parked()] == [("dead", False)] * 3
    assert [(row.key, row.payload) for row in world.outbox()] == [(b"a", None), (None, b"x"), (b"\xff\x00", b"x")]


def test_a_key_longer_than_any_index_takes_is_dead(world: Any) -> None:
    text = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(6000))
    good = world.message("a")
    world.process(*world.records(world.message(text), world.message("b", id=text), good))
    assert world.notes("a") == [good.id]
    assert [state for _, state, *_ in world.parked()] == ["dead", "dead"]


def test_an_error_that_cannot_be_written_is_written_nevertheless(world: Any, fail: Fail) -> None:
    fail("fail", Refused("\x00 \ud800 " + "x" * 10_000))
    world.process(world.record(world.message("a", does="fail")))
    assert world.parked() == [("a", "dead", 1, True)]
    with world.session.transaction() as tx:
        assert tx.parked.list(world.group)[0].reason.startswith("Refused: \\0 \\ud800 xxx")


@pytest.mark.parametrize("culprits", [{0}, {9}, {3, 4}, {1, 5, 8}, set(range(10))])
def test_messages_whose_data_the_database_refuses_are_found_and_the_others_commit(world: Any, culprits: set[int]) -> None:
    messages = [world.message(f"a{n}", 2**62 if n in culprits else 1) for n in range(10)]
    world.process(*world.records(*messages))
    assert {note for _, note in world.model()} == {m.id for n, m in enumerate(messages) if n not in culprits}
    assert world.parked() == [(f"a{n}", "dead", 1, True) for n in sorted(culprits)]
    assert len([row for row in world.outbox() if row.topic == "payment.request.dlt"]) == len(culprits)


def test_two_messages_that_only_together_break_a_rule_are_told_apart(world: Any) -> None:
    def same_note(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        return Decision([(f"account-{body.order_id}", world.Charged(1, "the same"))])

    world.scripts["same"] = same_note
    messages = [world.message("a"), world.message("b", does="same"), world.message("c"), world.message("d", does="same")]
    world.process(*world.records(*messages))
    assert [stream for stream, _ in world.model()] == ["account-a", "account-b", "account-c"]
    assert world.parked() == [("d", "dead", 1, True)]


def test_a_refused_message_parks_its_keys_successors(world: Any) -> None:
    before, bad, behind = world.message("a"), world.message("a", 2**62), world.message("a")
    world.process(*world.records(before, bad, behind))
    assert world.notes("a") == [before.id]
    assert world.parked() == [("a", "dead", 1, True), ("a", "retry", 0, True)]


def test_a_copy_of_a_message_that_the_database_refused_is_a_duplicate(world: Any) -> None:
    bad = world.message("a", 2**62)
    world.process(world.record(bad))
    world.process(world.record(bad))
    assert len(world.parked()) == 1


def test_among_parked_messages_too_only_the_culprit_dies(world: Any, fail: Fail) -> None:
    fail("fail", TransientError("later"))
    head, bad, last = world.message("a", does="fail"), world.message("a", 2**62), world.message("a")
    world.process(*world.records(head, bad, last))
    fail("fail", None)
    world.clock.skip(timedelta(seconds=1))
    for _ in range(3):
        world.retry_due()
    assert world.notes("a") == [head.id]
    assert world.parked() == [("a", "dead", 1, True), ("a", "retry", 0, True)]
    assert world.outbox()[-1].topic == "payment.request.dlt"


def test_a_nul_that_only_postgresql_refuses_is_found(world: Any) -> None:
    def nul(body: Any, states: Mapping[str, Any], context: Context) -> Decision:
        return Decision([("account-a", world.Charged(1, "a\x00b"))])

    world.scripts["nul"] = nul
    good = world.message("b")
    world.process(*world.records(world.message("a", does="nul"), good))
    assert ("account-b", good.id) in world.model()
    assert [key for key, *_ in world.parked()] == (["a"] if world.url.startswith("postgres") else [])


def test_a_message_that_a_read_model_cannot_show_is_dead_and_the_others_commit(world: Any) -> None:
    messages = [world.message(f"a{n}", 1313 if n in {3, 7} else 1) for n in range(10)]
    world.process(*world.records(*messages))
    assert {note for _, note in world.model()} == {m.id for n, m in enumerate(messages) if n not in {3, 7}}
    assert [(key, state) for key, state, *_ in world.parked()] == [("a3", "dead"), ("a7", "dead")]
    assert {world.headers(row)["x-millrace-error"] for row in world.outbox() if row.topic.endswith(".dlt")} == {
        "ProjectionFailed: ReadModel: KeyError: 'unshowable'"
    }


def test_a_read_model_without_its_table_is_no_messages_fault(world: Any) -> None:
    with world.session.transaction() as tx:
        tx.sql.execute("DROP TABLE model")
    with pytest.raises(Exception, match="model"):
        world.process(world.record(world.message("a")))
    assert world.parked() == []


def test_a_stream_that_cannot_be_read_fails_its_own_messages_and_they_wait_for_a_program_that_can(world: Any) -> None:
    newer = Append("account-a", 0, [NewEvent("OfANewerVersion", "{}")], "{}", 99)
    with world.session.transaction() as tx:
        tx.events.append([newer], 1)
    world.process(*world.records(world.message("a"), world.message("b")))
    assert len(world.notes("b")) == 1
    assert world.parked() == [("a", "retry", 1, True)]


def test_a_command_on_a_stream_that_cannot_be_read_is_told_to_come_again(world: Any) -> None:
    with world.session.transaction() as tx:
        tx.events.append([Append("account-a", 0, [NewEvent("OfANewerVersion", "{}")], "{}", 99)], 1)
    deposits = [Input("one", "a", world.Deposit("a"), {}), Input("two", "b", world.Deposit("b"), {})]
    results = world.process(inputs=deposits)
    assert isinstance(results["one"].error, TransientError)
    assert results["two"].reply == 1
