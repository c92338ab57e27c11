"""A command that fails says why in one line on stderr and ends with 1."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from millrace.errors import AlreadyExists, FieldViolation, Invalid, NotFound, Refused, Unavailable

ORDER = "5f1c6c1e-6df1-5b3f-9d0c-3a4d1c1f2b60"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            Invalid(
                [FieldViolation("order_id", "must be a UUID"), FieldViolation("reason", "must not contain\ncontrol characters")]
            ),
            "INVALID_ARGUMENT: order_id: must be a UUID; reason: must not contain control characters",
        ),
        (Refused("the order is confirmed"), "FAILED_PRECONDITION: the order is confirmed"),
        (NotFound("no such order"), "NOT_FOUND: no such order"),
        (AlreadyExists("another payload"), "ALREADY_EXISTS: another payload"),
        (Unavailable("the database is away"), "UNAVAILABLE: the database is away"),
        (KeyError("a bug"), "INTERNAL: internal error"),
    ],
)
def test_a_refusal_is_one_line_with_every_field(shop: Any, millrace: Callable[..., Any], error: Exception, line: str) -> None:
    shop.answers = {"CancelOrder": error}
    result = millrace("orders", "cancel", ORDER)
    assert result.exit_code == 1
    assert result.stderr == f"error: {line}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("order", ("orders", "get", ORDER)),
        ("order", ("orders", "watch", ORDER)),
        ("inventory", ("orders", "place", "--customer", "x", "--item", "mug:1")),
        ("inventory", ("stock", "list")),
        ("payment", ("payments", "list")),
        ("shipping", ("shipments", "list")),
        ("notification", ("notifications", "list")),
        ("analytics", ("summary",)),
    ],
)
def test_a_service_that_is_not_there_is_named_with_its_address_and_what_to_do(
    shop: Any, millrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, service: str, words: tuple[str, ...]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv(f"MILLRACE_{service.upper()}_ADDRESS", address)
        result = millrace(*words)
    assert result.exit_code == 1
    assert result.stderr == f"error: the {service} service cannot be reached at {address}: `make up` starts the shop\n"


def test_no_answer_in_time_is_told(shop: Any, millrace: Callable[..., Any]) -> None:
    over = threading.Event()

    def silent(request: Any) -> Any:
        over.wait(10)
        return []

    shop.answers = {"WatchOrder": silent}
    result = millrace("orders", "watch", ORDER, "--timeout", "0.05")
    over.set()
    assert result.exit_code == 1
    assert result.stderr.startswith("error: DEADLINE_EXCEEDED: the order service at 127.0.0.1:")
