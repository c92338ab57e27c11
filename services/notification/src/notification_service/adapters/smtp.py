"""Sends mail over SMTP (RFC 5321), by smtplib on a few threads of its own."""

import asyncio
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from millrace.errors import OutcomeUnknown, Unavailable
from millrace.settings import Secret
from notification_service.application.ports import AddressRefused, Mail
from notification_service.domain.notices import Channel

_THREADS = 8


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """Where mail is handed over. `tls` from the first byte; a user logs in with the password."""

    host: str
    port: int
    sender: str
    tls: bool = False
    user: str = ""
    password: Secret = field(default_factory=Secret)
    timeout_seconds: float = 5.0

    @classmethod
    def from_url(cls, url: str, sender: str) -> "SmtpConfig":
        """Read `smtp://host:port` or `smtps://user:password@host:port`. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not parts.port or parts.path not in ("", "/"):
            raise ValueError("must be smtp://host:port or smtps://user:password@host:port")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, parts.port, sender, parts.scheme == "smtps", user, Secret(password))


class SmtpMailer:
    """`Mailer` over SMTP: one connection a mail, each mail with one Message-ID for all its copies."""

    channel = Channel.EMAIL

    def __init__(self, config: SmtpConfig) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(_THREADS, "smtp")

    async def send(self, mail: Mail) -> None:
        """See `Mailer`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._send, mail)

    def close(self) -> None:
        """Wait for what is being sent, and end the threads."""
        self._threads.shutdown()

    def _send(self, mail: Mail) -> None:
        with _faults_told():
            kind = smtplib.SMTP_SSL if self._config.tls else smtplib.SMTP
            server = kind(self._config.host, self._config.port, timeout=self._config.timeout_seconds)
            try:
                if self._config.user:
                    server.login(self._config.user, self._config.password.reveal())
                server.send_message(_message(mail, self._config.sender), self._config.sender, [mail.email])
            finally:
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()


def _message(mail: Mail, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message["From"] = Address("Millrace shop", addr_spec=sender)
    message["To"] = Address(mail.name, addr_spec=mail.email)
    message["Subject"] = mail.subject
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    return message


@contextmanager
def _faults_told() -> Iterator[None]:
    """Turn smtplib's errors into ours: for good, surely not taken, or perhaps taken."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as refused:
        codes = [code for code, _ in refused.recipients.values()]
        if all(code >= 500 for code in codes):
            raise AddressRefused(f"refused with {codes}") from refused
        raise Unavailable(f"not taken now: {codes}") from refused
    except smtplib.SMTPDataError as refused:
        if refused.smtp_code >= 500:
            raise AddressRefused(f"refused with {refused.smtp_code}") from refused
        raise Unavailable(f"not taken now: {refused.smtp_code}") from refused
    except smtplib.SMTPServerDisconnected as lost:
        raise OutcomeUnknown("the mail server hung up; the mail may have been taken") from lost
    except smtplib.SMTPException as fault:
        raise Unavailable(f"the mail server does not serve us: {fault}") from fault
    except TimeoutError as silent:
        raise OutcomeUnknown("the mail server gave no answer; the mail may have been taken") from silent
    except OSError as away:
        raise Unavailable(f"the mail server cannot be reached: {away}") from away
