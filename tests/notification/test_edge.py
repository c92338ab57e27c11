"""Notification's calls over a real gRPC server: what they answer, and what bad input gets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from millrace.edge.client import status_violations
from notification_service.application.set_contact import SetContact
from notification_service.domain.address import is_address
from shop.notification.v1 import notification_service_pb2 as pb
from shop.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from shopkit.testing.bench import Bench

CUSTOMER = str(uuid4())


def call(bench: Bench, scenario: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with bench.edge() as channel:
            return await scenario(NotificationServiceStub(channel))

    return asyncio.run(run())


def test_a_contact_is_set_and_shown(benches: Any, mailer: Any) -> None:
    async def scenario(stub: Any) -> Any:
        for address in ("ada@example.org", "ada@example.com", "ada@example.com"):
            await stub.SetContact(pb.SetContactRequest(customer_id=CUSTOMER, email=address, name="Ada"))
        return (await stub.GetContact(pb.GetContactRequest(customer_id=CUSTOMER.upper()))).contact

    bench = benches(mailer)
    found = call(bench, scenario)
    assert (found.email, found.name) == ("ada@example.com", "Ada")
    assert bench.rows("SELECT version FROM stream") == [(2,)]


def test_seeded_contacts_do_not_replace_what_was_set(benches: Any, mailer: Any) -> None:
    bench = benches(mailer, (SetContact(CUSTOMER, "seed@example.org", "Seed"),))
    bench.prepare()
    assert bench.rows("SELECT email FROM contact") == [("seed@example.org",)]
    bench.order(CUSTOMER, SetContact(CUSTOMER, "ada@example.org", "Ada"))
    bench.prepare()
    assert bench.rows("SELECT email FROM contact") == [("ada@example.org",)]


def test_notifications_are_listed_in_pages_by_order_and_by_customer(benches: Any, mailer: Any, about: Any) -> None:
    bench = benches(mailer)
    first, second, other = (str(uuid4()) for _ in range(3))
    bench.hear(*about(first, CUSTOMER).values())
    bench.hear(*about(second, CUSTOMER).values(), *about(other, str(uuid4())).values())

    async def pages(stub: Any, **wanted: str) -> list[str]:
        ids: list[str] = []
        token = ""
        while True:
            answer = await stub.ListNotifications(pb.ListNotificationsRequest(**wanted, page_size=5, page_token=token))
            ids += [found.notification_id for found in answer.notifications]
            token = answer.next_page_token
            if not token:
                return ids

    async def scenario(stub: Any) -> Any:
        return [
            await pages(stub),
            await pages(stub, order_id=first),
            await pages(stub, customer_id=CUSTOMER),
            await pages(stub, order_id=other, customer_id=CUSTOMER),
        ]

    found = call(bench, scenario)
    assert [len(ids) for ids in found] == [24, 8, 16, 0]
    assert [len(set(ids)) for ids in found] == [24, 8, 16, 0]


@pytest.mark.parametrize(
    ("method", "request_", "code", "fields"),
    [
        ("SetContact", pb.SetContactRequest(customer_id="7", email="x", name="a\x00"), "INVALID_ARGUMENT", ["customer_id", "email", "name"]),
        ("GetContact", pb.GetContactRequest(customer_id="7"), "INVALID_ARGUMENT", ["customer_id"]),
        ("GetContact", pb.GetContactRequest(customer_id=str(uuid4())), "NOT_FOUND", []),
        (
            "ListNotifications",
            pb.ListNotificationsRequest(order_id="1", customer_id="2", page_size=-1, page_token="eA=="),
            "INVALID_ARGUMENT",
            ["order_id", "customer_id", "page_size", "page_token"],
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_field(
    benches: Any, mailer: Any, method: str, request_: Any, code: str, fields: list[str]
) -> None:
    async def scenario(stub: Any) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, method)(request_)
        return caught.value

    error = call(benches(mailer), scenario)
    assert (error.code().name, [violation.field for violation in status_violations(error)]) == (code, fields)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("ada@example.org", True), ("a.b+c@mail.example.co.uk", True), ("", False), ("ada", False), ("ada@localhost", False),
        ("a..b@example.org", False), ("ada@-x.org", False), ("ada@example.org\n", False), ("ada lovelace@example.org", False),
        ("å@example.org", False), ("a" * 65 + "@example.org", False), ("a@" + "b" * 64 + ".org", False),
    ],
)  # fmt: skip
def test_addresses_are_told_from_what_is_none(text: str, valid: bool) -> None:
    assert is_address(text) is valid
