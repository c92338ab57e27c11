"""Notification's settings, from the environment alone."""

from dataclasses import dataclass
from typing import Any

import msgspec

from millrace.edge.validation import Violations
from millrace.errors import Invalid
from millrace.settings import Environment
from notification_service.adapters.smtp import SmtpConfig
from notification_service.application.set_contact import SetContact
from notification_service.domain.address import is_address
from shopkit.service import CommonSettings

DEMO_CONTACTS = """[
    {"customer_id": "00000000-0000-4000-8000-000000000001", "email": "ada@example.org", "name": "Ada"},
    {"customer_id": "00000000-0000-4000-8000-000000000402", "email": "charles@example.org", "name": "Charles"}
]"""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything notification is told. Without `smtp` nothing is mailed; `contacts` are set where nobody said otherwise."""

    common: CommonSettings
    smtp: SmtpConfig | None
    contacts: tuple[SetContact, ...]


def read_config(environment: Environment) -> Config:
    """Read the settings all services share, and NOTIFICATION_*."""
    common = CommonSettings.read(environment, service="notification", grpc_port=50055, metrics_port=9055)
    sender = environment.checked("NOTIFICATION_SMTP_FROM", _sender, "shop@millrace.example")
    contacts = environment.json("NOTIFICATION_CONTACTS", DEMO_CONTACTS, _contacts)
    url = environment.checked("NOTIFICATION_SMTP_URL", _smtp, "")
    return Config(common, SmtpConfig.from_url(url, sender) if url else None, contacts)


def _smtp(url: str) -> None:
    if url:
        SmtpConfig.from_url(url, "")


def _sender(value: str) -> None:
    if not is_address(value):
        raise ValueError("must be a mail address")


def _contacts(value: Any) -> tuple[SetContact, ...]:
    """Return the contacts of a seed. Raises ValueError for what is none."""
    contacts = msgspec.convert(value, tuple[SetContact, ...])
    found = Violations()
    for number, contact in enumerate(contacts):
        found.uuid(f"[{number}].customer_id", contact.customer_id)
        found.check(f"[{number}].email", is_address(contact.email), "must be a mail address")
        found.text(f"[{number}].name", contact.name, required=False)
    try:
        found.raise_if_any()
    except Invalid as refused:
        raise ValueError(str(refused)) from refused
    return contacts
