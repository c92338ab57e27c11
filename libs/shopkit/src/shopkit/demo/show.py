"""The demo over a shop that runs: every scenario, then what each service holds, checked."""

import asyncio
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from millrace.cli.failures import CommandFailed
from shop.inventory.v1.inventory_service_pb2 import Stock
from shop.payment.v1.payment_service_pb2 import SetGatewayRulesRequest
from shopkit.clients import Shop
from shopkit.demo.checking import holding_faults, order_faults
from shopkit.demo.holdings import Holdings, read_holdings, read_stock
from shopkit.demo.playing import play, read_prices
from shopkit.demo.scenarios import GATEWAY_RULES, SCENARIOS, Scenario

_SETTLING_SECONDS: Final = 30.0


async def show(shop: Shop, console: Console, elapsed_seconds: Callable[[], float]) -> list[str]:
    """Return what went differently than it has to, nothing if all is well. Raises CommandFailed if a call fails."""
    async with shop.payment() as payment:
        await payment.SetGatewayRules(SetGatewayRulesRequest(rules=GATEWAY_RULES))
    before, prices = await read_stock(shop), await read_prices(shop)
    played: dict[str, Scenario] = {}
    faults: list[str] = []
    for number, scenario in enumerate(SCENARIOS, start=1):
        console.print()
        console.print(Text.assemble((f"{number}. {scenario.title}", "bold"), f"  {scenario.story}"))
        order = await play(shop, scenario, prices, console)
        faults += order_faults(scenario, order)
        played[order.order_id] = scenario
        if number == 1:
            console.print(Text(f"  first order finished {elapsed_seconds():.1f} s after the start", style="bold"))
    console.print()
    holdings, unsettled = await _settled(shop, console, played, before)
    console.print()
    console.print(Text("What every service holds", style="bold"))
    console.print()
    for table in holdings.tables():
        console.print(table)
    return faults + unsettled


async def _settled(shop: Shop, console: Console, played: dict[str, Scenario], before: list[Stock]) -> tuple[Holdings, list[str]]:
    """Return what the services hold once it is as it has to be, or in the end, with what is wrong."""
    deadline = asyncio.get_running_loop().time() + _SETTLING_SECONDS
    console.print("waiting for the last parcels and notifications")
    with console.status("not all are there yet"):
        while True:
            holdings = await read_holdings(shop)
            faults = holding_faults(played, before, holdings)
            if not faults or asyncio.get_running_loop().time() > deadline:
                return holdings, faults
            await asyncio.sleep(0.1)


def show_once(shop: Shop, console: Console, elapsed_seconds: Callable[[], float]) -> int:
    """Run the demo and return its exit code: 1 with every fault named if anything went differently than it has to."""
    try:
        faults = asyncio.run(show(shop, console, elapsed_seconds))
    except CommandFailed as error:
        faults = [str(error)]
    for fault in faults:
        console.print(Text(f"error: {fault}", style="red"), soft_wrap=True)
    if not faults:
        console.print(Text(f"all {len(SCENARIOS)} orders ended as they have to", style="bold green"))
    return 1 if faults else 0
