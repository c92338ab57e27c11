"""Checks of notification's requests; each raises Invalid that names every field at fault."""

from millrace.edge.validation import Violations
from notification_service.application.ports import Filter
from notification_service.domain.address import is_address
from shop.notification.v1 import notification_service_pb2 as pb


def check_contact(request: pb.SetContactRequest) -> None:
    """Check where a customer is to be reached."""
    found = Violations()
    found.uuid("customer_id", request.customer_id)
    found.check("email", is_address(request.email), "must be a mail address such as ada@example.org")
    found.text("name", request.name, required=False)
    found.raise_if_any()


def check_customer_id(customer_id: str) -> None:
    """Check a customer's id."""
    found = Violations()
    found.uuid("customer_id", customer_id)
    found.raise_if_any()


def read_filter(request: pb.ListNotificationsRequest) -> tuple[Filter, int]:
    """Return which notifications are wanted, and how many."""
    found = Violations()
    if request.order_id:
        found.uuid("order_id", request.order_id)
    if request.customer_id:
        found.uuid("customer_id", request.customer_id)
    size = found.page_size("page_size", request.page_size)
    place = found.page_token("page_token", request.page_token)
    after = _place(found, place) if place else (0, "")
    found.raise_if_any()
    return Filter(request.order_id, request.customer_id, after), size


def _place(found: Violations, place: str) -> tuple[int, str]:
    at, _, name = place.partition(" ")
    if not found.check("page_token", at.isascii() and at.isdigit() and len(at) < 19, "must be a token from an earlier answer"):
        return 0, ""
    return int(at), name
