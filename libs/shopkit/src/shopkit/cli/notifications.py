"""`millrace notifications` and `millrace contacts`: who was told what, and where customers are reached."""

from typing import Annotated

import typer

from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.notification.v1.notification_service_pb2 import (
    Contact,
    GetContactRequest,
    ListNotificationsRequest,
    Notification,
    SetContactRequest,
)
from shopkit.cli.options import AsJson, Limit, group, shop
from shopkit.clients import read_pages
from shopkit.show.tables import contacts_table, notifications_table


def commands() -> typer.Typer:
    """Return the group about notifications."""
    notifications = group("See who was told what.")
    # A group of one command keeps its name: `millrace notifications list`.
    notifications.callback()(lambda: None)
    notifications.command("list")(list_)
    return notifications


def contact_commands() -> typer.Typer:
    """Return the group about contacts."""
    contacts = group("See and set where customers are reached.")
    contacts.command("get")(get_contact)
    contacts.command("set")(set_contact)
    return contacts


def list_(
    order: Annotated[str, typer.Option(help="Only about this order (UUID).")] = "",
    customer: Annotated[str, typer.Option(help="Only to this customer (UUID).")] = "",
    limit: Limit = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List notifications, oldest first."""
    request = ListNotificationsRequest(order_id=order, customer_id=customer)

    async def ask() -> list[Notification]:
        async with shop().notification() as service:
            return await read_pages(service.ListNotifications, request, lambda answer: answer.notifications, limit=limit)

    notifications = run(ask())
    print_json(notifications) if as_json else console().print(notifications_table(notifications))


def get_contact(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="UUID of the customer.")], *, as_json: AsJson = False
) -> None:
    """Show where a customer is reached."""

    async def ask() -> Contact:
        async with shop().notification() as service:
            return (await service.GetContact(GetContactRequest(customer_id=customer))).contact

    contact = run(ask())
    print_json(contact) if as_json else console().print(contacts_table([contact]))


def set_contact(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="UUID of the customer.")],
    email: Annotated[str, typer.Option(help="Mail address.")],
    name: Annotated[str, typer.Option(help="How to address the customer.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Set where a customer is reached."""
    request = SetContactRequest(customer_id=customer, email=email, name=name)

    async def ask() -> Contact:
        async with shop().notification() as service:
            return (await service.SetContact(request)).contact

    contact = run(ask())
    print_json(contact) if as_json else console().print(contacts_table([contact]))
