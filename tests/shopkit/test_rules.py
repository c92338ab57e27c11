"""The declared rules of the simulated external parts."""

import pytest

from shopkit.rules import Rule, RuleBook, Subject, Then, parse_rules


def test_the_first_rule_that_holds_decides() -> None:
    book = RuleBook(
        parse_rules(
            [
                {"when": {"customer_id": "c1", "amount_minor_at_least": 100}, "then": "decline", "reason": "too much"},
                {"when": {"customer_id": "c1"}, "then": "delay", "delay_seconds": 0.5},
                {"when": {"item_id": "piano"}, "then": "fail"},
            ]
        )
    )
    assert book.first(Subject("c1", amount_minor=100)) == Rule(
        Then.DECLINE, customer_id="c1", amount_minor_at_least=100, reason="too much"
    )
    assert book.first(Subject("c1", amount_minor=99)).delay_seconds == 0.5
    assert book.first(Subject("c2", ["mug", "piano"])).then is Then.FAIL
    assert book.first(Subject("c2", ["mug"])) == Rule(Then.APPROVE)


def test_a_rule_without_conditions_holds_for_everything() -> None:
    assert RuleBook(parse_rules([{"then": "time_out"}])).first(Subject("anybody")).then is Then.TIME_OUT


def test_every_fault_is_named() -> None:
    document = [
        {"when": {"customer_id": 1, "amount_minor_at_least": -1, "colour": "red"}, "then": "decline"},
        {"then": "explode", "reason": "a\x00b", "delay_seconds": "long", "else": 1},
        {"when": [], "then": "fail"},
        "approve",
    ]
    with pytest.raises(ValueError) as refused:
        parse_rules(document)
    assert str(refused.value).split("; ") == [
        "[0].when.colour is not known",
        "known are customer_id, item_id, amount_minor_at_least",
        "[0].when.customer_id must be a text of at most 200 characters, none of them a control character",
        "[0].when.amount_minor_at_least must be a whole number from 0",
        "[1].else is not known",
        "known are when, then, reason, delay_seconds",
        "[1].then must be one of approve, decline, delay, fail, time_out",
        "[1].reason must be a text of at most 200 characters, none of them a control character",
        "[1].delay_seconds must be a number from 0 to 3600",
        "[2].when must be an object",
        "[3] must be an object",
    ]


@pytest.mark.parametrize("document", [{}, "[]", None, 7])
def test_what_is_no_list_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="must be a list"):
        parse_rules(document)
