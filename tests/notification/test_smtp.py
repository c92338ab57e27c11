"""Mail over real SMTP: a small server on this machine plays each answer a mail server may give."""

import asyncio
import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from millrace.errors import OutcomeUnknown, Unavailable
from notification_service.adapters.smtp import SmtpConfig, SmtpMailer
from notification_service.application.ports import AddressRefused, Mail


@dataclass
class FakeServer:
    """Answers each SMTP command with 250, unless `answers` holds another line for it; an empty line hangs up."""

    answers: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    port: int = 0

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                self._talk(stream)

    def _talk(self, stream: object) -> None:
        from typing import Any

        line: Any = stream
        line.write(b"220 ready\r\n")
        while command := line.readline():
            word = command.split()[0].decode().upper()
            answer = self.answers.get(word, {"DATA": "354 go on", "QUIT": "221 bye"}.get(word, "250 ok"))
            if not answer:
                return
            line.write(answer.encode() + b"\r\n")
            if word == "DATA" and answer.startswith("354"):
                mail = b""
                while (part := line.readline()) != b".\r\n":
                    mail += part
                self.mails.append(mail)
                after = self.answers.get(".", "250 taken")
                if not after:
                    return
                line.write(after.encode() + b"\r\n")
            if word == "QUIT":
                return


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    listener = socket.create_server(("127.0.0.1", 0))
    fake.port = listener.getsockname()[1]
    thread = threading.Thread(target=fake.serve, args=(listener,))
    thread.start()
    yield fake
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def send(port: int, *mails: Mail) -> None:
    async def run() -> None:
        mailer = SmtpMailer(SmtpConfig.from_url(f"smtp://127.0.0.1:{port}", "shop@millrace.example"))
        try:
            for mail in mails:
                await mailer.send(mail)
        finally:
            mailer.close()

    asyncio.run(run())


def mail(name: str = "Ada") -> Mail:
    return Mail(str(uuid4()), "ada@example.org", name, "Your order", "Dear Ada,\n\n.hidden dot\ngrüß Gott\n")


def test_a_mail_arrives_whole_and_every_copy_has_one_message_id(server: FakeServer) -> None:
    one = mail('Ada "the first" Lovelace')
    send(server.port, one, one)
    first, second = (email.message_from_bytes(raw, policy=email.policy.default) for raw in server.mails)
    assert first["Message-ID"] == second["Message-ID"] == f"<{one.id}@millrace.example>"
    assert first["To"].addresses[0].addr_spec == "ada@example.org"
    assert first["To"].addresses[0].display_name == 'Ada "the first" Lovelace'
    assert first["Subject"] == "Your order"
    body = first.get_body()
    assert body is not None
    assert "grüß Gott" in body.get_content()


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"RCPT": "550 no such mailbox"}, AddressRefused),
        ({"RCPT": "450 busy"}, Unavailable),
        ({".": "554 no"}, AddressRefused),
        ({".": "451 later"}, Unavailable),
        ({"MAIL": "530 log in first"}, Unavailable),
        ({".": ""}, OutcomeUnknown),
    ],
)
def test_each_refusal_is_told_apart(server: FakeServer, answers: dict[str, str], error: type[Exception]) -> None:
    server.answers = answers
    with pytest.raises(error):
        send(server.port, mail())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable):
        send(port, mail())


@pytest.mark.parametrize("url", ["smtp://host", "http://host:25", "smtp://:25", "smtp://host:25/path", "smtp://host:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"smtp|[Pp]ort"):
        SmtpConfig.from_url(url, "shop@millrace.example")


def test_a_password_is_read_and_not_shown() -> None:
    config = SmtpConfig.from_url("smtps://shop:p%40ss@mail.example:465", "shop@millrace.example")
    assert (config.tls, config.user, config.password.reveal()) == (True, "shop", "p@ss")
    assert "p@ss" not in repr(config)
