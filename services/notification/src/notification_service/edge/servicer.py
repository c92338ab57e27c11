"""Answers notification's calls: reads from the read models, writes as commands."""

import grpc

from millrace.clock import micros
from millrace.edge.validation import write_page_token
from millrace.errors import NotFound
from notification_service.application.answers import CHANNELS, KINDS
from notification_service.application.ports import NotificationView, Reads
from notification_service.application.set_contact import SetContact
from notification_service.domain.contact import ContactState
from notification_service.edge.validation import check_contact, check_customer_id, read_filter
from shop.notification.v1 import notification_service_pb2 as pb
from shop.notification.v1.notification_service_pb2_grpc import NotificationServiceServicer
from shopkit.mapping import to_timestamp
from shopkit.service import Commands


class NotificationServicer(NotificationServiceServicer):
    """The edge of the notification service."""

    def __init__(self, commands: Commands, reads: Reads) -> None:
        self._commands = commands
        self._reads = reads

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: grpc.ServicerContext
    ) -> pb.ListNotificationsResponse:
        """Return a page of notifications."""
        wanted, size = read_filter(request)
        found = await self._reads.notifications(wanted, size + 1)
        last = found[size - 1] if len(found) > size else None
        token = write_page_token(f"{micros(last.created_at)} {last.notification_id}") if last else ""
        return pb.ListNotificationsResponse(notifications=[_notification(view) for view in found[:size]], next_page_token=token)

    async def SetContact(self, request: pb.SetContactRequest, context: grpc.ServicerContext) -> pb.SetContactResponse:
        """Set where a customer is reached."""
        check_contact(request)
        command = SetContact(request.customer_id, request.email, request.name)
        contact = await self._commands.decide(request.customer_id, command)
        return pb.SetContactResponse(contact=_contact(request.customer_id, contact))

    async def GetContact(self, request: pb.GetContactRequest, context: grpc.ServicerContext) -> pb.GetContactResponse:
        """Return where a customer is reached."""
        check_customer_id(request.customer_id)
        contact = await self._reads.contact(request.customer_id)
        if contact is None:
            raise NotFound(f"nobody said where customer {request.customer_id} is reached")
        return pb.GetContactResponse(contact=_contact(request.customer_id, contact))


def _contact(customer_id: str, contact: ContactState) -> pb.Contact:
    return pb.Contact(customer_id=customer_id, email=contact.email, name=contact.name)


def _notification(view: NotificationView) -> pb.Notification:
    return pb.Notification(
        notification_id=view.notification_id,
        order_id=view.order_id,
        customer_id=view.customer_id,
        kind=KINDS[view.kind],
        channel=CHANNELS[view.channel],
        subject=view.subject,
        body=view.body,
        created_at=to_timestamp(view.created_at),
        sent_at=None if view.sent_at is None else to_timestamp(view.sent_at),
    )
