"""gRPC's health protocol over the state of this process's dependencies.

"" and each service's own name say whether this process can serve calls: started, not draining, and all it cannot serve without is
there. Each dependency is a service of its own ("kafka", "database"), for operators and alarms. Source: grpc/doc/health-checking.md.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millrace.observability.health import Health

_Response = health_pb2.HealthCheckResponse
SERVICE = "grpc.health.v1.Health"


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers Check, List and Watch. Its methods belong to the event loop; reports may come from any thread."""

    def __init__(self, health: Health, *, needs: Sequence[str], services: Sequence[str]) -> None:
        self._health = health
        self._needs = frozenset(needs)
        self._overall = ("", *services)
        self._serving = False
        self._drained = False
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Say SERVING from now on where that is true, and follow the reports. Called once, on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._serving = True
        self._health.listen(self._report)
        self._wake()

    def drain(self) -> None:
        """Say NOT_SERVING for good; watchers are told, and their streams end."""
        self._drained = True
        self._wake()

    def _report(self, *_: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def statuses(self) -> dict[str, Any]:
        """Return the status of each name at this moment."""
        parts = {name: part.ok for name, part in self._health.snapshot().items()}
        overall = self._serving and all(parts.get(name, False) for name in self._needs)
        up = parts | dict.fromkeys(self._overall, overall)
        return {name: _Response.SERVING if ok and not self._drained else _Response.NOT_SERVING for name, ok in up.items()}

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the status of one name. Ends with NOT_FOUND for a name nobody reported."""
        status = self.statuses().get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service or dependency")
        return _Response(status=status)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the status of every name."""
        found = {name: _Response(status=status) for name, status in self.statuses().items()}
        return health_pb2.HealthListResponse(statuses=found)  # type: ignore[attr-defined]

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Stream the status of one name whenever it changes, SERVICE_UNKNOWN until somebody reports it."""
        last = None
        while True:
            changed = self._changed
            status = self.statuses().get(request.service, _Response.SERVICE_UNKNOWN)
            if status != last:
                yield _Response(status=status)
                last = status
            if self._drained:
                return
            await changed.wait()
