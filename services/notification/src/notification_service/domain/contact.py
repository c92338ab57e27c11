"""Where a customer is reached: one stream a customer."""

from dataclasses import dataclass
from datetime import datetime

from millrace.decision import StreamType


@dataclass(frozen=True, slots=True)
class ContactState:
    """A mail address and how to address the customer; both empty if nobody said."""

    email: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Say whether somebody said."""
        return bool(self.email)


@dataclass(frozen=True, slots=True)
class ContactSet:
    """Somebody said where the customer is reached."""

    customer_id: str
    email: str
    name: str
    at: datetime


def evolve(state: ContactState, event: ContactSet) -> ContactState:
    """Return the contact after an event."""
    return ContactState(event.email, event.name)


CONTACT = StreamType("contact", ContactState(), evolve, (ContactSet,))


def contact_stream(customer_id: str) -> str:
    """Return the stream of a customer, however the UUID's letters are written."""
    return CONTACT.stream(customer_id.lower())
