"""What a mail address looks like, strictly enough that no mail server is asked for nonsense."""

import re

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL})@{_LABEL}(\.{_LABEL})+\Z")


def is_address(text: str) -> bool:
    """Say whether this is a mail address of RFC 5321 without quotes: ASCII, at most 64 characters before the @ and 254 in all."""
    found = _ADDRESS.match(text)
    return found is not None and len(text) <= 254 and len(found["local"]) <= 64
