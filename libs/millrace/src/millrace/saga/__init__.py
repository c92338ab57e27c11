"""Sagas declared as data: steps, their commands and replies, compensations, deadlines and retries."""

from millrace.saga.definition import SagaDefinition, Step
from millrace.saga.process import Request, SagaProcess, Turn
from millrace.saga.state import SAGA_EVENTS, SagaState, SagaStatus, StepStatus, evolve_saga, saga_stream

__all__ = [
    "SAGA_EVENTS",
    "Request",
    "SagaDefinition",
    "SagaProcess",
    "SagaState",
    "SagaStatus",
    "Step",
    "StepStatus",
    "Turn",
    "evolve_saga",
    "saga_stream",
]
