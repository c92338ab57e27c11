"""Sagas declared as data: steps, their commands and replies, compensations, deadlines, retries and locks."""

from millrace.saga.definition import SagaDefinition, Step
from millrace.saga.locks import LockState, LockTerms, lock_stream
from millrace.saga.process import SagaProcess
from millrace.saga.state import SAGA_EVENTS, HeldLock, SagaState, SagaStatus, StepStatus, evolve_saga, saga_stream
from millrace.saga.turn import Request, Turn

__all__ = [
    "SAGA_EVENTS",
    "HeldLock",
    "LockState",
    "LockTerms",
    "Request",
    "SagaDefinition",
    "SagaProcess",
    "SagaState",
    "SagaStatus",
    "Step",
    "StepStatus",
    "Turn",
    "evolve_saga",
    "lock_stream",
    "saga_stream",
]
