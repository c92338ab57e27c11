"""What notification needs from outside: somebody who takes mail, and answers about what stands in the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from millrace.errors import PermanentError
from notification_service.domain.contact import ContactState
from notification_service.domain.notices import Channel, Kind


class AddressRefused(PermanentError):
    """The mail server will never take a mail for this address."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail. `id` is the same for every copy of it."""

    id: str
    email: str
    name: str
    subject: str
    body: str


class Mailer(Protocol):
    """Takes mail. `channel` says what becomes of it."""

    @property
    def channel(self) -> Channel:
        """How this mailer's mail goes out."""

    async def send(self, mail: Mail) -> None:
        """Hand over one mail and return once it was taken.

        Raises AddressRefused, Unavailable if it was surely not taken, OutcomeUnknown if it may have been.
        """

    def close(self) -> None:
        """End, once what is being sent is sent."""


@dataclass(frozen=True, slots=True)
class NotificationView:
    """A notification as it is shown."""

    notification_id: str
    order_id: str
    customer_id: str
    kind: Kind
    channel: Channel
    subject: str
    body: str
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which notifications are wanted: of an order, of a customer, behind a place; empty means any."""

    order_id: str = ""
    customer_id: str = ""
    after: tuple[int, str] = (0, "")


class Reads(Protocol):
    """Questions to the read models. Each raises Unavailable when the database is away."""

    async def notifications(self, wanted: Filter, limit: int) -> list[NotificationView]:
        """Return up to `limit` notifications, oldest first."""

    async def contact(self, customer_id: str) -> ContactState | None:
        """Return where a customer is reached, or None if nobody said."""
