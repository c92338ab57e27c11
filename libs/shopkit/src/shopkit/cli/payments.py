"""`millrace payments`: what was taken and given back."""

import typer

from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.payment.v1.payment_service_pb2 import GetPaymentRequest, ListPaymentsRequest, Payment, PaymentStatus
from shopkit.cli.options import AsJson, Limit, OrderId, Status, group, read_enum, shop
from shopkit.clients import read_pages
from shopkit.show.tables import payments_table


def commands() -> typer.Typer:
    """Return the group."""
    payments = group("See payments.")
    payments.command("list")(list_)
    payments.command("get")(get)
    return payments


def list_(status: Status = "", limit: Limit = 50, *, as_json: AsJson = False) -> None:
    """List payments by their order's id."""
    request = ListPaymentsRequest(status=read_enum(PaymentStatus, status))

    async def ask() -> list[Payment]:
        async with shop().payment() as service:
            return await read_pages(service.ListPayments, request, lambda answer: answer.payments, limit=limit)

    payments = run(ask())
    print_json(payments) if as_json else console().print(payments_table(payments))


def get(order: OrderId, *, as_json: AsJson = False) -> None:
    """Show the payment of one order."""

    async def ask() -> Payment:
        async with shop().payment() as service:
            return (await service.GetPayment(GetPaymentRequest(order_id=order))).payment

    payment = run(ask())
    print_json(payment) if as_json else console().print(payments_table([payment]))
