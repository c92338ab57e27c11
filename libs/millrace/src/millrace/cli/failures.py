"""What a command says when it fails: one line that a person can act on.

CommandFailed       the command could not do what it was asked; `str()` is the line
"""

import grpc

from millrace.edge.client import status_violations
from millrace.edge.status import DETAILS


class CommandFailed(Exception):
    """A command could not do what it was asked; the text is one line for whoever typed it."""


def explain(error: grpc.aio.AioRpcError, *, service: str, address: str, hint: str) -> str:
    """Return one line about a failed call: every refused field, or where nobody answers and the `hint` what to do about it."""
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE and not _answered(error):
        return f"the {service} service cannot be reached at {address}: {hint}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"DEADLINE_EXCEEDED: the {service} service at {address} did not answer in time"
    violations = status_violations(error)
    text = "; ".join(f"{each.field}: {each.description}" for each in violations) or error.details() or "no reason given"
    return f"{code.name}: {' '.join(text.split())}"


def _answered(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the server itself said UNAVAILABLE; what gRPC makes up when nobody is there carries no details."""
    return any(name == DETAILS for name, _ in error.trailing_metadata() or ())
