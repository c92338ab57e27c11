"""What librdkafka says of its connections, one log a client: passed on to the program's log, and kept as the reason for what follows.

Its errors say that brokers are away or gave no answer in time. Why (a password, a certificate, a listener of another protocol) stands
in these lines alone, and they come with every attempt, many times a second.
"""

import re
from collections.abc import Callable
from time import monotonic

from millrace.kafka.config import CLIENT_LOG

LATELY_SECONDS = 30.0
"""How long a failed connection counts as the reason for what fails behind it."""

_FAILED = "FAIL"
_THREAD = re.compile(r"^\[thrd:[^\]]*\]: ")
_STATE = re.compile(r" \(after \d+ms in state [^)]*\)$")
# A listener with TLS hangs up on the first request in plain text, and cannot say why.
_HUNG_UP = re.compile(r"^(?!.*ssl://).*Disconnected.*in state APIVERSION_QUERY")


class ConnectionLog:
    """Given to one client of confluent-kafka as its `logger`. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last = ("", 0.0)
        self._quiet_until: dict[str, float] = {}

    def log(self, level: int, template: str, facility: str, client: str, text: str) -> None:
        """Pass a line on, as confluent-kafka hands it over; that connections fail for the same reason, every LATELY_SECONDS only."""
        if facility == _FAILED:
            reason, now = _reason(text), self._clock()
            until = now + LATELY_SECONDS
            self._last = (reason, until)
            if self._quiet_until.get(reason, 0.0) > now:
                return
            self._quiet_until = {known: end for known, end in self._quiet_until.items() if end > now} | {reason: until}
        CLIENT_LOG.log(level, template, facility, client, text)

    def explain(self, what: str) -> str:
        """Return `what` and, behind it, why the last connection failed, if one failed lately."""
        reason, until = self._last
        return f"{what}; {reason}" if self._clock() < until else what


def _reason(text: str) -> str:
    hint = " (does the listener want TLS?)" if _HUNG_UP.match(text) else ""
    return _STATE.sub("", _THREAD.sub("", text)) + hint
