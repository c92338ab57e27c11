"""Joins notification's parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry

from millrace.cqrs.registry import TypeRegistry
from millrace.decision import Handler, Handlers
from millrace.edge.server import RpcService
from millrace.external.call import CallPolicy, ExternalCall, ExternalMetrics
from millrace.pipeline.queries import Queries
from millrace.rebuild.rebuildable import Rebuildable
from notification_service.adapters.read_model import ReadModel
from notification_service.adapters.reads import SqlReads
from notification_service.adapters.recorder import Recorder
from notification_service.adapters.smtp import SmtpConfig, SmtpMailer
from notification_service.application.notify import ORDER_KINDS, SHIPPING_KINDS, Notify
from notification_service.application.ports import Mailer
from notification_service.application.send_mail import MailEnded, MailReactor, RecordMail, SendMail
from notification_service.application.set_contact import SetContact, SetContactHandler
from notification_service.domain.contact import CONTACT
from notification_service.domain.notices import NOTICES, Channel
from notification_service.edge.servicer import NotificationServicer
from shop.notification.v1.notification_service_pb2_grpc import add_NotificationServiceServicer_to_server
from shopkit.service import Commands, Parts
from shopkit.topics import group_of

RPC_NAME = "shop.notification.v1.NotificationService"
# A mail carries one Message-ID for all its copies, so repeating it after silence is what RFC 5321 (4.5.5, 6.1) expects.
_MAIL_POLICY = CallPolicy(attempt_seconds=10.0, total_seconds=25.0, idempotent=True)


def mailer_of(smtp: SmtpConfig | None) -> Mailer:
    """Return the mailer that the settings ask for."""
    return Recorder() if smtp is None else SmtpMailer(smtp)


_STREAM_TYPES = (NOTICES, CONTACT)
_READ_MODELS = (ReadModel(),)


def rebuildable() -> Rebuildable:
    """Return what `millrace rebuild` makes the read models anew with."""
    return Rebuildable(group_of("notification").id, Handlers(_STREAM_TYPES), _READ_MODELS)


def parts(mailer: Mailer, contacts: Sequence[SetContact] = (), metrics: CollectorRegistry = REGISTRY) -> Parts:
    """Return what is notification's own; `contacts` are set where nobody said otherwise."""
    notify = Notify(mail_is_on=mailer.channel is Channel.EMAIL)
    handlers: Mapping[type, Handler] = {
        **dict.fromkeys((*ORDER_KINDS, *SHIPPING_KINDS), notify),
        MailEnded: RecordMail(),
        SetContact: SetContactHandler(),
    }

    def rpc(commands: Commands, queries: Queries) -> Sequence[RpcService]:
        servicer = NotificationServicer(commands, SqlReads(queries))
        return [RpcService(RPC_NAME, lambda server: add_NotificationServiceServicer_to_server(servicer, server))]

    async def prepare(commands: Commands, queries: Queries) -> None:
        for contact in contacts:
            await commands.decide(contact.customer_id, replace(contact, only_if_unknown=True))

    return Parts(
        name="notification",
        stream_types=_STREAM_TYPES,
        handlers=handlers,
        registry=TypeRegistry([*ORDER_KINDS, *SHIPPING_KINDS]),
        rpc=rpc,
        projections=_READ_MODELS,
        reactors={SendMail: MailReactor(mailer, ExternalCall("mail", _MAIL_POLICY, ExternalMetrics(metrics)))},
        pace_seconds=0.2,  # it follows what others did: nobody waits for it
        migrations=Path(__file__).parent / "migrations",
        prepare=prepare,
        at_end=(mailer.close,),
    )
