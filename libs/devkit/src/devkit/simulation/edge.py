"""A service's edge without gRPC: its servicers' own methods, called by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from millrace.edge.server import RpcService


class DirectEdge:
    """Stands where servicers are added to a server, and calls them."""

    def __init__(self, services: Sequence[RpcService]) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for service in services:
            service.add_to(self)  # type: ignore[arg-type]

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Do nothing: the same methods come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        """Take a service's methods."""
        self._methods.update(handlers)

    async def call(self, method: str, request: object) -> Any:
        """Return the answer of a method. Raises what it raises."""
        behaviour: Any = self._methods[method].unary_unary
        return await behaviour(request, None)
