"""A mailer that sends nothing: for mail that was asked for while a mail server was configured, and none is now."""

import logging

from notification_service.application.ports import Mail
from notification_service.domain.notices import Channel

log = logging.getLogger(__name__)


class Recorder:
    """`Mailer` that writes one log line a mail, without the address."""

    channel = Channel.RECORD

    async def send(self, mail: Mail) -> None:
        """See `Mailer`. Never fails."""
        domain = mail.email.rpartition("@")[2]
        log.info("mail kept for the record", extra={"notification_id": mail.id, "mail_domain": domain, "subject": mail.subject})

    def close(self) -> None:
        """See `Mailer`."""
