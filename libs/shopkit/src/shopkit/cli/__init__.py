"""The shop's commands of the `millrace` CLI, one group a file. Each talks to a service over gRPC, as any client would."""

import typer

from shopkit.cli import notifications, orders, payments, saga, shipments, stock, summary


def app() -> typer.Typer:
    """Return all of them, for the entry point in the group `millrace.commands`."""
    commands = typer.Typer()
    commands.add_typer(orders.commands(), name="orders")
    commands.add_typer(saga.commands(), name="saga")
    commands.add_typer(stock.stock_commands(), name="stock")
    commands.add_typer(stock.item_commands(), name="items")
    commands.add_typer(payments.commands(), name="payments")
    commands.add_typer(shipments.commands(), name="shipments")
    commands.add_typer(notifications.commands(), name="notifications")
    commands.add_typer(notifications.contact_commands(), name="contacts")
    commands.command("summary")(summary.show)
    return commands
