"""Checks of a request's fields, all reported at once.

Services call these before anything is stored or sent. Every check returns whether the field passed, so that later ones can build
on it. Paths read like `items[0].quantity`.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from millrace.errors import FieldViolation, Invalid

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_CURRENCY = re.compile(r"[A-Z]{3}\Z")


class Violations:
    """Collects what is wrong with one request. Used within one call."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        """Note a fault that no check here knows."""
        self._found.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Raise Invalid with every field at fault, in the order they were found; do nothing if there is none."""
        if self._found:
            raise Invalid(self._found)

    def check(self, field: str, passed: bool, description: str) -> bool:
        """Note `description` unless `passed`, and return `passed`."""
        if not passed:
            self.add(field, description)
        return passed

    def uuid(self, field: str, value: str) -> bool:
        """Check for a UUID in its 36-character form."""
        return self.check(field, _UUID.match(value) is not None, "must be a UUID such as 123e4567-e89b-42d3-a456-426614174000")

    def text(self, field: str, value: str, *, max_length: int = 200, required: bool = True) -> bool:
        """Check for text of at most `max_length` characters without control characters, NUL among them; blank only if not required."""
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            return self.check(field, False, "must not contain control characters")
        if required and not value.strip():
            return self.check(field, False, "must not be empty")
        return self.check(field, len(value) <= max_length, f"must have at most {max_length} characters")

    def quantity(self, field: str, value: int) -> bool:
        """Check for a whole number from 1 to what int32 holds."""
        return self.check(field, 1 <= value <= INT32_MAX, f"must be from 1 to {INT32_MAX}")

    def stock(self, field: str, value: int) -> bool:
        """Check for a whole number from 0 to what int64 holds."""
        return self.check(field, 0 <= value <= INT64_MAX, "must not be negative")

    def not_empty(self, field: str, values: Sequence[object], *, max_items: int = 100) -> bool:
        """Check for a list of 1 to `max_items` entries."""
        return self.check(field, 1 <= len(values) <= max_items, f"must have from 1 to {max_items} entries")

    def currency(self, field: str, value: str) -> bool:
        """Check for three capital letters, the shape of ISO 4217."""
        return self.check(field, _CURRENCY.match(value) is not None, "must be an ISO 4217 code such as EUR")

    def money(self, field: str, currency: str, minor_units: int) -> bool:
        """Check an amount: its currency's shape, and that it is from 0 to what int64 holds."""
        shaped = self.currency(f"{field}.currency", currency)
        fits = self.check(f"{field}.minor_units", 0 <= minor_units <= INT64_MAX, "must not be negative")
        return shaped and fits

    def one_currency(self, fields: Sequence[tuple[str, str]], expected: str) -> bool:
        """Check that each (field, currency) is the expected one."""
        checks = [self.check(field, found == expected, f"must be {expected}, as the rest") for field, found in fields]
        return all(checks)

    def total(self, field: str, lines: Iterable[tuple[int, int]]) -> bool:
        """Check that the sum of (quantity, minor units) fits int64."""
        amount = sum(quantity * minor_units for quantity, minor_units in lines)
        return self.check(field, amount <= INT64_MAX, "the total amount is too large")

    def page_size(self, field: str, value: int, *, default: int = 50, most: int = 500) -> int:
        """Return the size to use: the default for 0, at most `most` (AIP-158); a negative one is a fault."""
        if not self.check(field, value >= 0, "must not be negative"):
            return default
        return min(value, most) or default

    def page_token(self, field: str, token: str) -> str | None:
        """Return the position inside a token made by `write_page_token`, None for the first page or a token that is no token."""
        if not token:
            return None
        try:
            position = base64.urlsafe_b64decode(token.encode("ascii")).decode()
        except (binascii.Error, ValueError):
            self.add(field, "must be a token from an earlier answer")
            return None
        return position if self.text(field, position, max_length=400) else None


def write_page_token(position: str) -> str:
    """Return an opaque token for a position, such as the last id of a page."""
    return base64.urlsafe_b64encode(position.encode()).decode()
