"""Joins an order and its saga: two streams, decided together, under the one lock of the order's id."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from millrace.decision import Decision, Publish
from millrace.saga import SagaDefinition, SagaProcess, SagaState, SagaStatus, Turn
from order_service.application.announcing import announce
from order_service.application.saga import LOCKS, SAGAS, SHIPPING, SagaData, lock_streams
from order_service.domain.order import (
    ORDERS,
    CancellationBegun,
    Order,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderStatus,
    evolve_order,
)


def order_streams(order_id: str) -> Sequence[str]:
    """Return the streams of an order."""
    return (ORDERS.stream(order_id), SAGAS.stream(order_id))


def order_lock_streams(definition: SagaDefinition[SagaData], order_id: str, states: Mapping[str, Any]) -> Sequence[str]:
    """Return the streams of the locks of an order whose own streams are known."""
    order_stream, saga_stream = order_streams(order_id)
    return lock_streams(definition, states[order_stream], states[saga_stream])


class OrderProcess:
    """One order and its saga while one input is decided."""

    def __init__(self, definition: SagaDefinition[SagaData], order_id: str, states: Mapping[str, Any], now: datetime) -> None:
        self._order_stream, self._saga_stream = order_streams(order_id)
        self.order: Order = states[self._order_stream]
        self.saga: SagaState = states[self._saga_stream]
        self._states = states
        self._definition = definition
        self._order_id = order_id
        self._now = now
        self._events: list[tuple[str, object]] = []
        self._publish: list[Publish] = []

    def process(self) -> SagaProcess[SagaData]:
        """Return the saga, to be given one happening."""
        data = SagaData(self.order, self._now)
        resources = self._definition.resources(data, self.saga)
        locks = {resource: self._states[LOCKS.stream(resource)] for resource in resources}
        return SagaProcess(self._definition, self._order_id, self.saga, data, self._now, locks)

    def record(self, event: object) -> None:
        """Append an event to the order and tell of it."""
        self._append(event)
        self._publish += announce(self.order, event)

    def decision(self, turn: Turn, *, delayed: bool = False, reply: object = None) -> Decision:
        """Return everything that follows from the saga's turn."""
        self._events += [(self._saga_stream, event) for event in turn.events]
        self._events += [(LOCKS.stream(resource), event) for resource, event in turn.lock_events]
        if turn.succeeded(SHIPPING):
            self.record(OrderCompleted(delayed, self._now))
        if turn.state.status is SagaStatus.COMPENSATING and self.order.status is not OrderStatus.CANCELLING:
            self.record(CancellationBegun(turn.state.reason, self._now))
        if turn.state.status is SagaStatus.COMPENSATED and self.order.status is not OrderStatus.CANCELLED:
            self.record(OrderCancelled(turn.state.reason, self._now))
        for request in turn.requests:
            if request.body is not None:
                self._publish.append(Publish(request.body, deadline=request.deadline))
                continue
            confirmed = OrderConfirmed(self._now)
            self._append(confirmed)
            self._publish += announce(self.order, confirmed, request.deadline)
        return Decision(
            self._events,
            self._publish,
            timers=turn.timers,
            cancel_timers=turn.cancel_timers,
            reply=self.order if reply is None else reply,
        )

    def _append(self, event: object) -> None:
        self.order = evolve_order(self.order, event)
        self._events.append((self._order_stream, event))
