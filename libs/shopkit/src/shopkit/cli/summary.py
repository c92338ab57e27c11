"""`millrace summary`: what analytics counted."""

from millrace.cli.output import console, print_json_object
from millrace.cli.running import run
from shop.analytics.v1.analytics_service_pb2 import (
    GetSagaStatsRequest,
    GetSagaStatsResponse,
    GetSummaryRequest,
    GetSummaryResponse,
)
from shopkit.cli.options import AsJson, shop
from shopkit.show.tables import summary_table


def show(*, as_json: AsJson = False) -> None:
    """Show how orders stand over all, and how sagas ended."""

    async def ask() -> tuple[GetSummaryResponse, GetSagaStatsResponse]:
        async with shop().analytics() as service:
            return await service.GetSummary(GetSummaryRequest()), await service.GetSagaStats(GetSagaStatsRequest())

    summary, stats = run(ask())
    if as_json:
        print_json_object(summary=summary, saga_stats=stats)
    else:
        console().print(summary_table(summary, stats))
