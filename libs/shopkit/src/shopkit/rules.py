"""The declared rules of the simulated external parts (payment gateway, carrier): what each does with which call.

Read from a setting as JSON, `[{"when": {"customer_id": "...", "item_id": "...", "amount_minor_at_least": 1}, "then": "decline",
"reason": "...", "delay_seconds": 0.5}]`. The first rule whose conditions all hold decides; where none holds the call is approved.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_CONDITIONS = ("customer_id", "item_id", "amount_minor_at_least")
_MEMBERS = ("when", "then", "reason", "delay_seconds")
_LONGEST_DELAY_SECONDS = 3600.0
_LONGEST_TEXT = 200


class Then(StrEnum):
    """What a simulated part does: take the call, refuse it for good, take it late, fail for now, or do it and never answer."""

    APPROVE = "approve"
    DECLINE = "decline"
    DELAY = "delay"
    FAIL = "fail"
    TIME_OUT = "time_out"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is asked about: one call to the part."""

    customer_id: str
    item_ids: Collection[str] = ()
    amount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. An empty condition holds for everything; `delay_seconds` is how much longer than usual the part takes to answer."""

    then: Then
    customer_id: str = ""
    item_id: str = ""
    amount_minor_at_least: int = 0
    reason: str = ""
    delay_seconds: float = 0.0

    def holds(self, subject: Subject) -> bool:
        """Say whether every condition holds."""
        return (
            self.customer_id in ("", subject.customer_id)
            and (not self.item_id or self.item_id in subject.item_ids)
            and subject.amount_minor >= self.amount_minor_at_least
        )


_APPROVE = Rule(Then.APPROVE)


class RuleBook:
    """The rules in force in this process. Replaced and read on the event loop."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)

    def replace(self, rules: Sequence[Rule]) -> None:
        """Put other rules in force, for calls made from now on."""
        self.rules = tuple(rules)

    def first(self, subject: Subject) -> Rule:
        """Return the first rule that holds, or one that approves."""
        return next((rule for rule in self.rules if rule.holds(subject)), _APPROVE)


def parse_rules(document: object) -> tuple[Rule, ...]:
    """Return the rules of a JSON document. Raises ValueError that names every fault in it."""
    if not isinstance(document, list):
        raise ValueError("must be a list of rules")
    faults: list[str] = []
    rules = [_rule(f"[{number}]", entry, faults) for number, entry in enumerate(document)]
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(rule for rule in rules if rule is not None)


def _rule(at: str, entry: object, faults: list[str]) -> Rule | None:
    found = len(faults)
    if not isinstance(entry, Mapping):
        faults.append(f"{at} must be an object")
        return None
    when = entry.get("when", {})
    if not isinstance(when, Mapping):
        faults.append(f"{at}.when must be an object")
        when = {}
    faults += [f"{at}.{name} is not known; known are {', '.join(_MEMBERS)}" for name in entry if name not in _MEMBERS]
    faults += [f"{at}.when.{name} is not known; known are {', '.join(_CONDITIONS)}" for name in when if name not in _CONDITIONS]
    then = entry.get("then")
    if then not in list(Then):
        faults.append(f"{at}.then must be one of {', '.join(Then)}")
    customer_id = _text(f"{at}.when.customer_id", when.get("customer_id", ""), faults)
    item_id = _text(f"{at}.when.item_id", when.get("item_id", ""), faults)
    amount = when.get("amount_minor_at_least", 0)
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
        faults.append(f"{at}.when.amount_minor_at_least must be a whole number from 0")
    reason = _text(f"{at}.reason", entry.get("reason", ""), faults)
    delay = _delay(f"{at}.delay_seconds", entry.get("delay_seconds", 0), faults)
    return Rule(Then(str(then)), customer_id, item_id, int(amount), reason, delay) if len(faults) == found else None


def _text(at: str, value: object, faults: list[str]) -> str:
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and (value.isprintable() or not value):
        return value
    faults.append(f"{at} must be a text of at most {_LONGEST_TEXT} characters, none of them a control character")
    return ""


def _delay(at: str, value: Any, faults: list[str]) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST_DELAY_SECONDS:
        return float(value)
    faults.append(f"{at} must be a number from 0 to {_LONGEST_DELAY_SECONDS:g}")
    return 0.0
