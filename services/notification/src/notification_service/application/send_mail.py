"""Sends one mail, and records what became of it.

Mail is at-least-once: a crash, or an answer that never came, sends it again under the same Message-ID.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.decision import Context, Decision
from millrace.external.call import ExternalCall
from notification_service.application.answers import sent_event
from notification_service.application.ports import AddressRefused, Mail, Mailer
from notification_service.domain.notices import NOTICES, Channel, Kind, NoticesState, NotificationSent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SendMail:
    """The call to be made."""

    notification_id: str
    order_id: str
    customer_id: str
    kind: Kind
    email: str
    name: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class MailEnded:
    """What became of the call: the channel the notification went out by."""

    notification_id: str
    order_id: str
    customer_id: str
    kind: Kind
    channel: Channel


class MailReactor:
    """Hands mail to the mailer, behind its breaker. An address refused for good leaves the record only."""

    def __init__(self, mailer: Mailer, call: ExternalCall) -> None:
        self._mailer = mailer
        self._call = call

    async def __call__(self, request: SendMail, effect_id: str) -> MailEnded:
        """Send one mail; the effect's id is its own for good. Raises TransientError to be called again."""
        mail = Mail(effect_id, request.email, request.name, request.subject, request.body)
        channel = self._mailer.channel
        try:
            await self._call.call(lambda: self._mailer.send(mail))
        except AddressRefused as refused:
            log.warning("mail refused for good", extra={"notification_id": effect_id, "reason": str(refused)})
            channel = Channel.RECORD
        return MailEnded(request.notification_id, request.order_id, request.customer_id, request.kind, channel)


class RecordMail:
    """Decides `MailEnded`: the notification went out, once."""

    def streams(self, body: MailEnded) -> Sequence[str]:
        """Name the order's notifications."""
        return [NOTICES.stream(body.order_id)]

    def decide(self, body: MailEnded, states: Mapping[str, Any], context: Context) -> Decision:
        """Record it and tell others, unless that was done."""
        stream = NOTICES.stream(body.order_id)
        notices: NoticesState = states[stream]
        if body.notification_id in notices.sent:
            return Decision()
        sent = NotificationSent(body.notification_id, body.channel, context.now)
        told = sent_event(body.notification_id, body.order_id, body.customer_id, body.kind, sent)
        return Decision(events=[(stream, sent)], publish=[told])
