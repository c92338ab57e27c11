"""Sets where a customer is reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.decision import Context, Decision
from notification_service.domain.contact import ContactSet, ContactState, contact_stream, evolve


@dataclass(frozen=True, slots=True)
class SetContact:
    """Reach the customer here. With `only_if_unknown` a contact that was set before stays."""

    customer_id: str
    email: str
    name: str
    only_if_unknown: bool = False


class SetContactHandler:
    """Decides `SetContact`: the reply is the contact."""

    def streams(self, body: SetContact) -> Sequence[str]:
        """Name the customer's contact."""
        return [contact_stream(body.customer_id)]

    def decide(self, body: SetContact, states: Mapping[str, Any], context: Context) -> Decision:
        """Set it, unless it is so already."""
        stream = contact_stream(body.customer_id)
        state: ContactState = states[stream]
        if state == ContactState(body.email, body.name) or (state.known and body.only_if_unknown):
            return Decision(reply=state)
        event = ContactSet(body.customer_id.lower(), body.email, body.name, context.now)
        return Decision(events=[(stream, event)], reply=evolve(state, event))
