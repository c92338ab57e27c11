"""Finds whose content the database refuses, by trying parts of a batch and rolling them back.

Called by the engine when a batch met a data error. It knows neither database nor transaction, only whether a part goes through.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from millrace.errors import PermanentError
from millrace.inbox.parked import ParkedMessage
from millrace.pipeline.inputs import Input

Unit: TypeAlias = Input | str
"""An input, or a key whose parked messages are due."""


@dataclass(slots=True)
class Findings:
    """What has been found out about one batch. A key under suspicion is first tried with its head alone: the fault may lie behind it."""

    _inputs: dict[str, Exception] = field(default_factory=dict)
    _heads: dict[str, Exception] = field(default_factory=dict)
    _alone: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        """Return how much has been found out."""
        return len(self._inputs) + len(self._heads) + len(self._alone)

    def rejection(self, source: Input) -> Exception | None:
        """Return why the database refuses an input, if that was found out."""
        return self._heads.get(source.key) if source.parked else self._inputs.get(source.id)

    def to_try(self, parked: Iterable[ParkedMessage]) -> Iterator[ParkedMessage]:
        """Leave out what waits behind the heads of suspected keys; it stays parked, and due."""
        seen: set[str] = set()
        for message in parked:
            if message.key not in self._alone or message.key not in seen:
                seen.add(message.key)
                yield message

    def blame(self, unit: Unit, error: Exception) -> None:
        """Note that a batch went through without `unit` and failed with it."""
        refusal = (
            error
            if isinstance(error, PermanentError)
            else PermanentError(f"the database refused its content: {type(error).__name__}: {error}")
        )
        if isinstance(unit, Input):
            self._inputs[unit.id] = refusal
        elif unit in self._alone:
            self._heads[unit] = refusal
        else:
            self._alone.add(unit)


def search(units: Sequence[Unit], fault_of: Callable[[Sequence[Unit]], Exception | None], findings: Findings) -> bool:
    """Find who is at fault, and return whether anything new was found.

    `fault_of` tries a part, as the findings stand, and returns the data error it met. Halves find all that fail by themselves. Where each
    half goes through, some fail only together: the last of the shortest failing beginning is then at fault.
    """
    before = len(findings)
    _by_halves(units, fault_of, findings)
    if len(findings) == before:
        _by_beginning(units, fault_of, findings)
    return len(findings) > before


def _by_halves(units: Sequence[Unit], fault_of: Callable[[Sequence[Unit]], Exception | None], findings: Findings) -> None:
    error = fault_of(units)
    if error is None:
        return
    if len(units) == 1:
        findings.blame(units[0], error)
        return
    middle = len(units) // 2
    _by_halves(units[:middle], fault_of, findings)
    _by_halves(units[middle:], fault_of, findings)


def _by_beginning(units: Sequence[Unit], fault_of: Callable[[Sequence[Unit]], Exception | None], findings: Findings) -> None:
    error = fault_of(units)
    passes, fails = 0, len(units)
    while error is not None and fails - passes > 1:
        middle = (passes + fails) // 2
        found = fault_of(units[:middle])
        if found is None:
            passes = middle
        else:
            fails, error = middle, found
    if error is not None and units:
        findings.blame(units[fails - 1], error)
