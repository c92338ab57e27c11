"""`millrace saga`: how far an order's saga is, for operators."""

import typer

from millrace.cli.output import console, print_json
from millrace.cli.running import run
from shop.order.v1.order_service_pb2 import GetSagaRequest, Saga
from shopkit.cli.options import AsJson, OrderId, group, shop
from shopkit.show.tables import saga_locks_table, saga_table


def commands() -> typer.Typer:
    """Return the group."""
    sagas = group("Look into sagas.")
    # A group of one command keeps its name: `millrace saga show`.
    sagas.callback()(lambda: None)
    sagas.command("show")(show)
    return sagas


def show(order: OrderId, *, as_json: AsJson = False) -> None:
    """Show an order's saga: each step's state, attempts and times, and the locks it has."""

    async def ask() -> Saga:
        async with shop().order() as service:
            return (await service.GetSaga(GetSagaRequest(order_id=order))).saga

    saga = run(ask())
    if as_json:
        print_json(saga)
        return
    console().print(saga_table(saga))
    if saga.locks:
        console().print(saga_locks_table(saga))
